# What the real image does with a new volume: a cluster, the user with a password, the database; then the server.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA" && chmod 700 "$PGDATA"
    initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-host=scram-sha-256 --auth-local=trust >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --options="-c listen_addresses= -c unix_socket_directories=/run/postgresql" start >/dev/null
    createdb --host=/run/postgresql --username="$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl --wait --mode=fast stop >/dev/null
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/run/postgresql
