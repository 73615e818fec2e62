from django.urls import path

import views

urlpatterns = [
    path("", views.start, name="start"),
    path("greet/", views.greet, name="greet"),
    path("upload/", views.upload, name="upload"),
    path("files/<str:name>", views.put, name="put"),
]
