"""What the images of the mesh need: which paths they read, which settings they have, how to ask whether they work."""

OURS = ("ORCHESTRATOR_", "OTEL_")
"""How the names of our own settings begin."""
GROUPS = {"grafana/grafana": 0}
"""The group of an image's user, where it is that of root: what the image has belongs to it."""
KEPT = {"postgres": frozenset({"/var/lib/postgresql"})}
"""Repository of an image -> paths where it keeps what is to last, and that nothing in the compose file tells it."""
READ = {
    "grafana/grafana": frozenset({"/etc/grafana/provisioning/datasources", "/etc/grafana/provisioning/dashboards"}),
    "prom/prometheus": frozenset({"/etc/prometheus/rules"}),
}
"""The same for paths that it reads."""
ENVIRONMENTS = {
    "postgres": {
        "POSTGRES_USER": "saga",
        "POSTGRES_DB": "saga",
        "POSTGRES_PASSWORD_FILE": "/run/secrets/database-password",
    },
    "grafana/grafana": {
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_AUTH_DISABLE_LOGIN_FORM": "true",
        "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED": "true",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_ANALYTICS_FEEDBACK_LINKS_ENABLED": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
        "GF_LOG_MODE": "console",
    },
}
"""Repository of a third party's image -> its environment, the whole of it: who may do what hangs on each line."""
READY = ["CMD", "python3", "-IS", "/opt/saga/ready.py", "7401"]
SERVING = ["CMD", "python3", "-m", "services.health", "127.0.0.1:50051"]
_WGET = ["CMD", "wget", "--quiet", "--spider"]
CHECKS = {
    "saga-orchestrator": READY,
    "saga-services": SERVING,
    "postgres": ["CMD", "pg_isready", "--quiet", "--host=127.0.0.1", "--username=saga", "--dbname=saga"],
    "jaegertracing/jaeger": [*_WGET, "http://127.0.0.1:13133/status"],
    "prom/prometheus": [*_WGET, "http://127.0.0.1:9090/-/ready"],
    "grafana/grafana": [*_WGET, "http://127.0.0.1:3000/api/health"],
}
"""Repository of an image -> the health check that tells whether it takes work."""
