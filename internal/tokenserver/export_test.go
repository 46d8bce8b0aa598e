// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"net/http"
)

// Complete is complete.
var Complete = complete

// Classes is what each pattern of the server's mux needs before it answers.
func (s *Server) Classes(ctx context.Context) (map[string]string, error) {
	routes, err := s.routes(ctx)
	classes := map[string]string{}
	for _, route := range routes {
		name := map[class]string{always: "always", cached: "cached", confirmed: "confirmed"}[route.needs]
		route.endpoint.Mount(patterns{name, classes})
	}
	return classes, err
}

// patterns is a router that writes down what it is given.
type patterns struct {
	class string
	all   map[string]string
}

func (p patterns) Handle(pattern string, _ http.Handler) { p.all[pattern] = p.class }
func (p patterns) HandleFunc(pattern string, _ func(http.ResponseWriter, *http.Request)) {
	p.all[pattern] = p.class
}
