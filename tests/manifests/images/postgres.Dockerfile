# Stands in for the public postgres image where no container registry can be reached: Debian's own
# PostgreSQL behind the same contract (POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, PGDATA; user 999).
FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid 999 --home-dir /var/lib/postgresql postgres \
    && apt-get update && apt-get install -y --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
COPY postgres-entrypoint.sh /usr/local/bin/entrypoint.sh
ENV PGDATA=/var/lib/postgresql/data
USER 999:999
ENTRYPOINT ["sh", "/usr/local/bin/entrypoint.sh"]
