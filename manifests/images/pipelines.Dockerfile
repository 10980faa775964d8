# The commands of the project on a cluster: compile, upload, schedule. No step uses this image.
#   docker build -f manifests/images/pipelines.Dockerfile -t REGISTRY/pipelines:TAG .
FROM python:3.11-slim-bookworm AS packages
WORKDIR /src
COPY pyproject.toml setup.cfg LICENSE NOTICE constraints.txt ./
# Every workload imports the packages of archive. Without modules, this installs packages and metadata only.
# hadolint ignore=DL3013,DL3042
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c constraints.txt '.[pipelines,archive]'

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="pipelines" \
      org.opencontainers.image.description="The commands of continuous training: compile, upload, schedule"
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY components components
COPY continuous_training continuous_training
COPY pipelines pipelines
COPY workloads workloads
# A compiled pipeline contains the locked versions of the packages of train.
COPY locks locks
COPY constraints.txt ./
RUN chmod -R a+rX .
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001:10001
ENTRYPOINT ["python", "-m"]
CMD ["pipelines.schedule", "--help"]
