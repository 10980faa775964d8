# Stands in for the public versity/versitygw image where no container registry can be reached: the same
# program in the same version, built from its Go module, behind the same entry point.
FROM python:3.11-slim-bookworm
COPY versitygw /usr/local/bin/versitygw
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/versitygw"]
