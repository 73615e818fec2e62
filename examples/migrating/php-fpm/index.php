<?php
// What shop.py says, as far as the names are the same: before.
header("Content-Type: application/json");
$said = [];
foreach (["REQUEST_METHOD", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH",
          "REMOTE_ADDR", "SERVER_PROTOCOL", "HTTP_HOST", "HTTP_COOKIE",
          "HTTP_AUTHORIZATION"] as $name)
    $said[$name] = $_SERVER[$name] ?? "";
$said["body"] = file_get_contents("php://input");
$said["SHOP_SETTINGS"] = getenv("SHOP_SETTINGS") ?: "";
$said["folder"] = getcwd();
echo json_encode($said);
