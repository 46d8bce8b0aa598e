// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

func TestAnOriginIsWrittenAsABrowserDoes(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://ID.example.com/x?y": "https://id.example.com", "https://id.example.com:443": "https://id.example.com",
		"http://127.0.0.1:80": "http://127.0.0.1", "http://[::1]:8080": "http://[::1]:8080", "https://a:80": "https://a:80", "https://a:": "https://a",
		"%": "", "/a": "", "com.example.app:/a": "", "ftp://a": "",
	} {
		assert.Equal(t, want, httpx.Origin(address), address)
	}
}
