// cgi.go - hello as a CGI program in Go, by its own library
package main

import (
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
)

func main() {
	hello := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintln(w, "Hello world")
	}
	if err := cgi.Serve(http.HandlerFunc(hello)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
