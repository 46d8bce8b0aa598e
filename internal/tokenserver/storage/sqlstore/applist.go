// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"unicode/utf8"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Apps implements storage.Apps.
func (s *Store) Apps(ctx context.Context, query storage.AppQuery) ([]storage.App, int, error) {
	where, args := `org_id = ? AND config = ''`, []any{query.OrgID}
	if query.ExternalID != "" {
		where, args = where+` AND external_id = ?`, append(args, query.ExternalID)
	}
	if query.Search != "" {
		where, args = where+` AND search LIKE ? ESCAPE '\'`, append(args, likePattern(query.Search))
	}
	if !possible(query.OrgID, query.ExternalID, query.Search) {
		return nil, 0, nil // no app has it
	}
	var total int
	var page []storage.App
	err := s.inReadTx(ctx, func(tx *sql.Tx) (err error) {
		if err := s.queryRow(ctx, tx, []any{&total}, `SELECT COUNT(*) FROM apps WHERE `+where, args...); err != nil {
			return err
		}
		page, err = s.appPage(ctx, tx, where, append(args, query.Limit, query.Offset)...)
		return err
	})
	return page, total, err
}

// AllApps implements storage.Apps.
func (s *Store) AllApps(ctx context.Context, visit func(storage.App) error) error {
	return s.inReadTx(ctx, func(tx *sql.Tx) error {
		secrets, err := s.allSecrets(ctx, tx)
		if err != nil {
			return err
		}
		return s.queryRows(ctx, tx, func(rows *sql.Rows) error {
			app, err := scanApp(rows)
			if err != nil {
				return err
			}
			app.Secrets = secrets[app.ClientID]
			return visit(app)
		}, `SELECT `+appColumns+` FROM apps`)
	})
}

// ConfiguredApps implements storage.Apps.
func (s *Store) ConfiguredApps(ctx context.Context) (ids []string, err error) {
	err = s.queryRows(ctx, s.read, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, `SELECT client_id FROM apps WHERE config <> ''`)
	return ids, err
}

// appPage chooses by the index alone, and reads only the apps that it has chosen.
func (s *Store) appPage(ctx context.Context, tx *sql.Tx, where string, args ...any) ([]storage.App, error) {
	var page []storage.App
	err := s.queryRows(ctx, tx, func(rows *sql.Rows) error {
		app, err := scanApp(rows)
		page = append(page, app)
		return err
	}, `SELECT `+appColumns+` FROM apps WHERE client_id IN (SELECT client_id FROM apps WHERE `+where+` ORDER BY created_at, client_id LIMIT ? OFFSET ?)
		ORDER BY created_at, client_id`, args...)
	return page, err
}

func scanApp(rows *sql.Rows) (storage.App, error) {
	var row appRow
	if err := rows.Scan(row.dest()...); err != nil {
		return storage.App{}, err
	}
	return row.app()
}

// appTexts are the app's texts: what the search looks through, and what must be
// storable.
func appTexts(app storage.App) []string {
	texts := []string{
		app.ClientID, app.Name, app.ExternalID, app.Audience, app.OrgID, app.OwnerOrgID, app.OwnerUserID,
		app.ClientURI, app.PolicyURI, app.TOSURI, app.IDProviderID, app.TokenEndpointAuthMethod, app.AccessTokenFormat,
	}
	for _, list := range [][]string{
		app.GrantTypes, app.RedirectURIs, app.Scopes, app.PublicKeys, app.PostLogoutRedirectURIs, app.IdentityProviders,
	} {
		texts = append(texts, list...)
	}
	for _, scope := range app.ContextScopes {
		texts = append(texts, scope.Scope, scope.Org, scope.EnvID)
	}
	for _, identity := range app.FederatedIdentities {
		texts = append(texts, identity.IssuerName, identity.Subject)
	}
	return texts
}

// checkTexts refuses what one of the engines would: NUL and bad UTF-8.
// possible tells whether the texts are some that the database can hold at all.
func possible(texts ...string) bool { return checkTexts(texts) == nil }

func checkTexts(texts []string) error {
	for _, text := range texts {
		if err := checkText(text); err != nil {
			return err
		}
	}
	return nil
}

func checkText(text string) error {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return fmt.Errorf("%w: %.40q", storage.ErrInvalidText, text)
	}
	return nil
}

// foldTexts writes one line a text, so that a search never matches across two.
func foldTexts(texts []string) string {
	return strings.ToLower(strings.Join(texts, "\n"))
}

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func likePattern(search string) string {
	return "%" + escapeLike.Replace(strings.ToLower(search)) + "%"
}
