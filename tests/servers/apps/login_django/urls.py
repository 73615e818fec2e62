from django.contrib.auth import views as auth
from django.urls import path

import views

urlpatterns = [
    path("", views.start, name="start"),
    path("login/", auth.LoginView.as_view(template_name="login.html"),
         name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("private/", views.private, name="private"),
    path("upload/", views.upload, name="upload"),
]
