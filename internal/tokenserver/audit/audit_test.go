// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/audit"
)

func TestAnEventIsOneLineWithWhatIsKnown(t *testing.T) {
	var out bytes.Buffer
	log := &audit.Log{Logger: slog.New(slog.NewJSONHandler(&out, nil))}
	log.Record(t.Context(), audit.Event{
		Action: audit.AppEdited, ClientID: "abc", ClientName: "one\n\u202eline", OrgID: "org", SourceIP: "192.0.2.1",
		GrantTypes: []string{"client_credentials"}, ActorSubject: "user", ActorClientID: "cli", Changed: []string{"client_name"},
	})
	require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")))
	var got map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	delete(got, "time")
	require.Equal(t, map[string]any{
		"level": "INFO", "msg": "audit", "action": "app_edited", "client_id": "abc", "client_name": "oneline", "org_id": "org",
		"source_ip": "192.0.2.1", "grant_types": []any{"client_credentials"}, "actor_subject": "user", "actor_client_id": "cli",
		"changed": []any{"client_name"},
	}, got)
}

func TestSourceIPIgnoresForwardingHeaders(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.1:80": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1", "pipe": "pipe"} {
		r := &http.Request{RemoteAddr: address, Header: http.Header{"X-Forwarded-For": {"203.0.113.9"}}}
		require.Equal(t, want, audit.SourceIP(r))
	}
}
