// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"connectedapps.dev/operator/internal/oauth"
)

// app is a connected app (contract section 2), and no member more.
type app struct {
	ClientID                     string    `json:"client_id"`
	ClientSecret                 string    `json:"client_secret,omitempty"`
	ClientName                   string    `json:"client_name"`
	GrantTypes                   []string  `json:"grant_types"`
	RedirectURIs                 []string  `json:"redirect_uris"`
	Scopes                       []string  `json:"scopes"`
	PublicKeys                   []string  `json:"public_keys"`
	Audience                     string    `json:"audience"`
	ClientURI                    *string   `json:"client_uri"`
	PolicyURI                    *string   `json:"policy_uri"`
	TOSURI                       *string   `json:"tos_uri"`
	CertExpiry                   *string   `json:"cert_expiry"`
	Enabled                      bool      `json:"enabled"`
	OrgID                        string    `json:"org_id"`
	OwnerOrgID                   string    `json:"owner_org_id"`
	OwnerUserID                  string    `json:"owner_user_id"`
	GenerateISSClaimWithoutToken bool      `json:"generate_iss_claim_without_token"`
	IDProviderID                 *string   `json:"idprovider_id"`
	CreatedAt                    time.Time `json:"created_at"`
	UpdatedAt                    time.Time `json:"updated_at"`
	ClientSecretUpdatedAt        time.Time `json:"client_secret_updated_at"`

	contexts      []oauth.ContextScope // scopes of an app that acts for itself
	administrator bool
}

// fields are the members a request may set: policy_uri, tos_uri and all that is
// not of section 2 are dropped.
type fields struct {
	ClientName   *string            `json:"client_name"`
	GrantTypes   *[]string          `json:"grant_types"`
	RedirectURIs *[]string          `json:"redirect_uris"`
	Scopes       *[]json.RawMessage `json:"scopes"`
	PublicKeys   *[]string          `json:"public_keys"`
	Audience     *string            `json:"audience"`
	ClientURI    *string            `json:"client_uri"`
	Enabled      *bool              `json:"enabled"`
	ClientSecret *string            `json:"client_secret"`
	OwnerUserID  *string            `json:"owner_user_id"`
}

// maxApps is the most an organization may have (contract section 9).
const maxApps = 2000

var grantTypes = []string{
	oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantPassword, oauth.GrantJWTBearer, oauth.GrantClientCredentials, "implicit",
}

func (a *app) actsForItself() bool {
	return slices.Equal(a.GrantTypes, []string{oauth.GrantClientCredentials})
}

func (p *Platform) create(w http.ResponseWriter, r *http.Request) {
	var f fields
	if !decode(w, r, &f) {
		return
	}
	if f.ClientName == nil || f.GrantTypes == nil || f.Audience == nil || f.RedirectURIs == nil || f.PublicKeys == nil {
		refuse(w, http.StatusBadRequest, "client_name, grant_types, audience, redirect_uris and public_keys are required")
		return
	}
	if len(p.order) >= maxApps {
		refuse(w, http.StatusBadRequest, "the organization has the most connected apps it may have")
		return
	}
	now := time.Now().UTC()
	made := &app{
		ClientID: strings.ReplaceAll(uuid.NewString(), "-", ""), ClientSecret: newSecret(),
		RedirectURIs: []string{}, Scopes: []string{}, PublicKeys: []string{}, Enabled: true,
		OrgID: OrgID, OwnerOrgID: OrgID, OwnerUserID: OwnerID, CreatedAt: now, ClientSecretUpdatedAt: now,
	}
	f.ClientSecret, f.OwnerUserID, f.Enabled = nil, nil, nil // the platform's own choice on creation
	if problem := made.apply(f, now); problem != "" {
		refuse(w, http.StatusBadRequest, problem)
		return
	}
	if made.actsForItself() && f.Scopes != nil {
		made.contexts = merge(nil, contextsOf(*f.Scopes))
	}
	p.apps[made.ClientID] = made
	p.order = append(p.order, made.ClientID)
	answer(w, http.StatusCreated, made.wire(false))
}

// apply changes what the fields say, or says why it does not.
func (a *app) apply(f fields, now time.Time) string {
	changed := *a
	set(&changed.ClientName, f.ClientName)
	set(&changed.GrantTypes, f.GrantTypes)
	set(&changed.RedirectURIs, f.RedirectURIs)
	set(&changed.PublicKeys, f.PublicKeys)
	set(&changed.Audience, f.Audience)
	set(&changed.Enabled, f.Enabled)
	set(&changed.OwnerUserID, f.OwnerUserID)
	if f.ClientURI != nil {
		changed.ClientURI = f.ClientURI
		if *f.ClientURI == "" {
			changed.ClientURI = nil
		}
	}
	// A list of names in an app that acts for itself never takes scopes away.
	if f.Scopes != nil && !changed.actsForItself() {
		changed.Scopes = namesOf(*f.Scopes)
	}
	if problem := changed.problem(); problem != "" {
		return problem
	}
	if f.ClientSecret != nil && *f.ClientSecret != changed.ClientSecret {
		changed.ClientSecret, changed.ClientSecretUpdatedAt = *f.ClientSecret, now
	}
	changed.UpdatedAt = now
	*a = changed
	return ""
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (a *app) problem() string {
	for _, grant := range a.GrantTypes {
		if !slices.Contains(grantTypes, grant) {
			return "unknown grant type " + grant
		}
	}
	switch {
	case strings.TrimSpace(a.ClientName) == "":
		return "client_name is empty"
	case len(a.GrantTypes) == 0:
		return "grant_types is empty"
	case slices.Contains(a.GrantTypes, oauth.GrantClientCredentials) && !a.actsForItself():
		return "client_credentials cannot stand beside another grant type"
	case a.Audience != oauth.AudienceInternal && a.Audience != oauth.AudienceEveryone:
		return "audience is neither internal nor everyone"
	}
	return ""
}

// wire is the app as an answer shows it.
func (a *app) wire(hideSecret bool) app {
	shown := *a
	if hideSecret {
		shown.ClientSecret = ""
	}
	if a.actsForItself() {
		shown.Scopes = []string{oauth.ScopeProfile} // implicit (contract section 1, rule 9)
	}
	return shown
}

func (p *Platform) read(w http.ResponseWriter, r *http.Request) {
	if a := p.find(w, r); a != nil {
		answer(w, http.StatusOK, a.wire(p.hideSecret))
	}
}

func (p *Platform) update(w http.ResponseWriter, r *http.Request) {
	a := p.find(w, r)
	var f fields
	if a == nil || !decode(w, r, &f) {
		return
	}
	reset := r.URL.Query().Get("resetSecret") == "true"
	if reset {
		f.ClientSecret = new(newSecret())
	}
	if problem := a.apply(f, time.Now().UTC()); problem != "" {
		refuse(w, http.StatusBadRequest, problem)
		return
	}
	answer(w, http.StatusOK, a.wire(p.hideSecret && !reset))
}

func (p *Platform) remove(w http.ResponseWriter, r *http.Request) {
	a := p.find(w, r)
	if a == nil {
		return
	}
	delete(p.apps, a.ClientID)
	p.order = slices.DeleteFunc(p.order, func(id string) bool { return id == a.ClientID })
	for token, of := range p.tokens {
		if of.clientID == a.ClientID {
			delete(p.tokens, token)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// list answers one page (contract section 3.1). A filter it does not know, such
// as external_id, changes nothing.
func (p *Platform) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if org := query.Get("orgId"); org != "" && org != OrgID {
		refuse(w, http.StatusNotFound, "no such organization")
		return
	}
	matches := []app{}
	for _, id := range p.order {
		if row := p.apps[id].wire(true); row.matches(query.Get("search")) {
			matches = append(matches, row)
		}
	}
	offset, limit, ok := page(query)
	if !ok {
		refuse(w, http.StatusBadRequest, "offset and limit must be numbers that are not negative")
		return
	}
	from := min(offset, len(matches))
	answer(w, http.StatusOK, oauth.List[app]{Data: matches[from:min(from+limit, len(matches))], Total: len(matches)})
}

// matches tells whether a property of the row contains the text, in any case.
func (a app) matches(text string) bool {
	row, err := json.Marshal(a) //nolint:gosec // a row of a list has no secret
	var properties map[string]any
	if err != nil || json.Unmarshal(row, &properties) != nil {
		return false
	}
	for _, value := range properties {
		values, isList := value.([]any)
		if !isList {
			values = []any{value}
		}
		for _, v := range values {
			if s, isText := v.(string); isText && strings.Contains(strings.ToLower(s), strings.ToLower(text)) {
				return true
			}
		}
	}
	return false
}

func page(query url.Values) (offset, limit int, ok bool) {
	offset, err := strconv.Atoi(cmp.Or(query.Get("offset"), "0"))
	if err != nil || offset < 0 {
		return 0, 0, false
	}
	limit, err = strconv.Atoi(cmp.Or(query.Get("limit"), "25"))
	return offset, min(limit, 500), err == nil && limit >= 0
}

// find returns the app of the path; nil after it answered 404.
func (p *Platform) find(w http.ResponseWriter, r *http.Request) *app {
	a := p.apps[r.PathValue("id")]
	if a == nil || a.administrator {
		refuse(w, http.StatusNotFound, "Connected application not found")
		return nil
	}
	return a
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, "the body is not the JSON that was expected")
		return false
	}
	return true
}
