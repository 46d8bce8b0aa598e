// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
)

// Problem is an error page with what the log says of it.
type Problem struct {
	Status int
	View   Error
	// Cause is logged and never shown.
	Cause error
}

// Problem writes an error page and one log event that carry the same reference.
func (r *Renderer) Problem(w http.ResponseWriter, req *http.Request, logger *slog.Logger, p Problem) {
	reference := make([]byte, 5)
	_, _ = rand.Read(reference)
	p.View.Reference = hex.EncodeToString(reference)
	attributes := []slog.Attr{slog.String("reference", p.View.Reference), slog.String("kind", p.View.Kind),
		slog.String("code", p.View.Code), slog.String("detail", p.View.Detail), slog.String("path", req.URL.Path)}
	level := slog.LevelInfo
	if p.Cause != nil {
		level = slog.LevelError
		attributes = append(attributes, slog.Any("error", p.Cause))
	}
	logger.LogAttrs(req.Context(), level, "error page", attributes...)
	r.Error(w, p.Status, p.View)
}
