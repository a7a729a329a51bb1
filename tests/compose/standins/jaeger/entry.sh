# Version 1 is told by flags where jaeger.yaml tells version 2 to listen, and does not understand --config.
if /usr/local/bin/jaeger --help 2>&1 | grep -q -e --collector.otlp.enabled; then
    exec /usr/local/bin/jaeger --collector.otlp.enabled=true --memory.max-traces=50000 --log-level=warn \
        --admin.http.host-port=:13133 --collector.otlp.grpc.host-port=:4317 --query.http-server.host-port=:16686
fi
exec /usr/local/bin/jaeger "$@"
