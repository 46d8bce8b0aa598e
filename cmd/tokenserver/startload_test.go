// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestARestartUnderLoadAnswersNobodyWrongly(t *testing.T) {
	s := newSite(t)
	first := s.start().ready()
	// The same address again: who calls knows no other.
	s.edit("listen: 127.0.0.1:0\n", "listen: "+first.public+"\n")
	first.terminate()
	require.Zero(t, first.exit())

	again := s.start()
	again.public = first.public
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() { again.callUntilServed(20) })
	}
	callers.Wait()
}

// callUntilServed asks for tokens until so many were given. Nobody listens, then
// 503 with Retry-After, then tokens: there is nothing else.
func (r *server) callUntilServed(more int) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {adminID}, "client_secret": {canary}}
	for more > 0 {
		select {
		case <-r.done:
			assert.Fail(r.t, "the server ended", r.log.String())
			return
		default:
		}
		response, err := http.PostForm("http://"+r.public+"/accounts/api/v2/oauth2/token", form)
		if err != nil {
			continue // nobody listens yet
		}
		_ = response.Body.Close()
		switch response.StatusCode {
		case http.StatusOK:
			more--
		case http.StatusServiceUnavailable:
			assert.NotEmpty(r.t, response.Header.Get("Retry-After"))
		default:
			assert.Failf(r.t, "answered wrongly", "%d\n%s", response.StatusCode, r.log)
			return
		}
	}
}
