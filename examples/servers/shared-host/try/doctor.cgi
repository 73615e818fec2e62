#!/home/alice/wsgi-cgi/bin/wsgi-cgi --doctor --mount /
# A page that says what the web server sends, and what to change. For pretty URLs, name
# this file in .htaccess instead of app.cgi. Delete it afterwards: everyone sees the page.
