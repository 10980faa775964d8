# The registry: MLflow's server with what it needs to keep rows in PostgreSQL and artifacts on S3.
#   docker build -f manifests/images/registry.Dockerfile -t REGISTRY/registry:TAG .
FROM python:3.11-slim-bookworm
COPY constraints.txt /tmp/constraints.txt
# hadolint ignore=DL3013,DL3042
RUN pip install --no-cache-dir -c /tmp/constraints.txt "mlflow==3.17.2" boto3 psycopg2-binary \
    && rm /tmp/constraints.txt
LABEL org.opencontainers.image.title="continuous-training registry" \
      org.opencontainers.image.description="MLflow 3.17.2 over PostgreSQL and S3"
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 5000
ENTRYPOINT ["mlflow"]
CMD ["server", "--host", "0.0.0.0", "--port", "5000"]
