package admin

import (
	"embed"
	"net/http"
)

//go:embed web
var web embed.FS

// page serves one embedded file.
func page(name, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		text, err := web.ReadFile("web/" + name)
		if err != nil {
			fail(w, http.StatusInternalServerError, "the page is missing from this build", "build it again")
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Write(text)
	}
}
