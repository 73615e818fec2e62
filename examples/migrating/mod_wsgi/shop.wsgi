# For mod_wsgi and for wsgi-cgi, unchanged. (Only lines that import the module
# mod_wsgi itself must go.)
import os

# mod_wsgi cannot set variables of the process; its SetEnv is for requests.
os.environ["SHOP_SETTINGS"] = "production"

from shop import application
