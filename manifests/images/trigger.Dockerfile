# The trigger service, without kfp: it starts versions of pipelines that are already uploaded. The packages of
# deploy-serving are for the decisions about versions on a cluster.
#   docker build -f manifests/images/trigger.Dockerfile -t REGISTRY/trigger:TAG .
FROM python:3.11-slim-bookworm AS packages
WORKDIR /src
COPY pyproject.toml setup.cfg LICENSE NOTICE constraints.txt ./
# Every workload imports the packages of archive. Without modules, this installs packages and metadata only.
# hadolint ignore=DL3013,DL3042
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c constraints.txt \
        '.[archive,deploy-serving,trigger]' uvicorn httptools uvloop orjson rich

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="trigger" \
      org.opencontainers.image.description="The service that starts runs over HTTP"
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY components components
COPY continuous_training continuous_training
COPY pipelines pipelines
COPY workloads workloads
RUN chmod -R a+rX .
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp CT_STATE=/tmp/state
USER 10001:10001
EXPOSE 8090
ENTRYPOINT ["python", "-m", "pipelines.trigger"]
CMD ["serve", "--help"]
