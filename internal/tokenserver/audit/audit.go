// SPDX-License-Identifier: Apache-2.0

// Package audit writes the audit log of the token server: one structured event
// for each thing that an organization's owner may have to answer for. It knows
// no secret and decides nothing.
package audit

import (
	"context"
	"log/slog"
	"net/http"
	"slices"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/logline"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// Action names what happened.
type Action string

// The audited actions.
const (
	AppCreated            Action = "app_created"
	AppEdited             Action = "app_edited"
	AppDeleted            Action = "app_deleted"
	ScopesAssigned        Action = "scopes_assigned"
	SecretCreated         Action = "secret_created"
	SecretDeleted         Action = "secret_deleted"
	TokenIssued           Action = "token_issued"
	TokenRefused          Action = "token_refused"
	TokenRevoked          Action = "token_revoked"
	AuthorizationApproved Action = "authorization_approved"
	AuthorizationDenied   Action = "authorization_denied"
	UserEdited            Action = "user_edited"
)

// Event is one entry of the audit log. Empty members are left out.
type Event struct {
	Action Action
	// ClientID, ClientName, OrgID and GrantTypes are those of the app
	// concerned; for a token, GrantTypes holds the one grant that was used.
	ClientID, ClientName, OrgID string
	GrantTypes                  []string
	// UserID is the user that was changed.
	UserID string
	// SourceIP is where the request came from; see SourceIP.
	SourceIP string
	// ActorSubject and ActorClientID say who did it: the sub and client_id of
	// the access token used, or of the one issued.
	ActorSubject, ActorClientID string
	// Changed names the members that were changed, never their values.
	Changed []string
	// Scopes are the scopes assigned, granted or asked for.
	Scopes []string
	// Reason says why something was refused or done.
	Reason string
}

// Log writes events. Its zero value writes to slog.Default.
type Log struct {
	Logger *slog.Logger
}

// Record writes one event at level info.
func (l *Log) Record(ctx context.Context, e Event) {
	logger := slog.Default()
	if l != nil && l.Logger != nil {
		logger = l.Logger
	}
	const members = 12
	attributes := append(make([]slog.Attr, 0, members), slog.String("action", string(e.Action)))
	for _, member := range [...]struct{ key, value string }{
		{"client_id", e.ClientID}, {"client_name", e.ClientName}, {"org_id", e.OrgID}, {"user_id", e.UserID}, {"source_ip", e.SourceIP},
		{"actor_subject", e.ActorSubject}, {"actor_client_id", e.ActorClientID}, {"reason", e.Reason},
	} {
		if member.value != "" {
			attributes = append(attributes, slog.String(member.key, text.Clean(member.value)))
		}
	}
	for _, list := range [...]struct {
		key    string
		values []string
	}{{"grant_types", e.GrantTypes}, {"changed", e.Changed}, {"scopes", e.Scopes}} {
		if len(list.values) > 0 {
			attributes = append(attributes, slog.Any(list.key, cleaned(list.values)))
		}
	}
	logline.Write(ctx, logger, slog.LevelInfo, "audit", attributes...)
}

// SourceIP is the address that the request's log event has, so that both logs
// say the same; without an event, the peer's.
func SourceIP(r *http.Request) string {
	if remote := httpx.EventOf(r.Context()).Remote; remote != "" {
		return remote
	}
	return httpx.Peer(r)
}

// cleaned copies only what is not clean, which is rare.
func cleaned(values []string) logline.List {
	if !slices.ContainsFunc(values, func(value string) bool { return text.Clean(value) != value }) {
		return values
	}
	clean := make([]string, len(values))
	for i, value := range values {
		clean[i] = text.Clean(value)
	}
	return clean
}
