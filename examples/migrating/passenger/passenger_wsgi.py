# For Passenger and for wsgi-cgi, unchanged.
from shop import application
