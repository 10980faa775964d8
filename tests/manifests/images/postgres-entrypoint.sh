# Makes the database the first time, as the public image does: over its socket alone until it is made.
set -eu
socket="-c unix_socket_directories=/var/run/postgresql"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA" && chmod 700 "$PGDATA"
    printf %s "$POSTGRES_PASSWORD" >/tmp/password
    initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl -w -o "$socket -c listen_addresses=''" start >/dev/null
    psql --host=/var/run/postgresql --username="$POSTGRES_USER" --dbname=postgres -c "CREATE DATABASE $POSTGRES_DB"
    pg_ctl -w -m fast stop >/dev/null
fi
# shellcheck disable=SC2086
exec postgres $socket -c listen_addresses='*'
