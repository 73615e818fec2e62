# Before: see gunicorn.sh.
bind = "unix:/run/wsgi-cgi/app.sock"
backlog = 100
user = "www-data"
group = "www-data"
umask = 0o007
workers = 2
threads = 4
preload_app = True
chdir = "/srv/app"
raw_env = ["SHOP_SETTINGS=production", "SCRIPT_NAME=/shop"]
max_requests = 10000
max_requests_jitter = 500
timeout = 60
graceful_timeout = 15
limit_request_fields = 100
pidfile = "/run/wsgi-cgi/app.pid"
errorlog = "/var/log/wsgi-cgi.log"
capture_output = True
accesslog = "/var/log/wsgi-cgi-access.log"
loglevel = "info"
