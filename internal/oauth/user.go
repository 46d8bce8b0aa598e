// SPDX-License-Identifier: Apache-2.0

package oauth

// Me is the answer of GET /accounts/api/me. Client is there when the token was
// issued to a connected app (contract section 10).
type Me struct {
	User   User      `json:"user"`
	Client *MeClient `json:"client,omitempty"`
}

// MeClient is the connected app behind a token.
type MeClient struct {
	ClientID   string `json:"client_id"`
	Name       string `json:"name"`
	OrgID      string `json:"org_id"`
	ClientType string `json:"client_type"`
}

// User is a user as the profile endpoints answer it (contract section 10): camel
// case but for idprovider_id. MFAVerifiersConfigured is a string, and times are
// ISO 8601 strings in UTC, since clients cut them at the T.
type User struct {
	ID                         string             `json:"id"`
	CreatedAt                  string             `json:"createdAt"`
	UpdatedAt                  string             `json:"updatedAt"`
	OrganizationID             string             `json:"organizationId"`
	FirstName                  string             `json:"firstName"`
	LastName                   string             `json:"lastName"`
	Email                      string             `json:"email"`
	PhoneNumber                string             `json:"phoneNumber"`
	Username                   string             `json:"username"`
	IDProviderID               string             `json:"idprovider_id"`
	Enabled                    bool               `json:"enabled"`
	Deleted                    bool               `json:"deleted"`
	LastLogin                  *string            `json:"lastLogin"`
	MFAVerificationExcluded    bool               `json:"mfaVerificationExcluded"`
	MFAVerifiersConfigured     string             `json:"mfaVerifiersConfigured"`
	IsFederated                bool               `json:"isFederated"`
	Type                       string             `json:"type"`
	OrganizationPreferences    map[string]any     `json:"organizationPreferences"`
	Organization               UserOrganization   `json:"organization"`
	MemberOfOrganizations      []UserOrganization `json:"memberOfOrganizations"`
	ContributorOfOrganizations []UserOrganization `json:"contributorOfOrganizations"`
	Properties                 map[string]any     `json:"properties"`
}

// UserOrganization is an organization inside a User.
type UserOrganization struct {
	ID                    string         `json:"id"`
	Name                  string         `json:"name"`
	CreatedAt             string         `json:"createdAt"`
	UpdatedAt             string         `json:"updatedAt"`
	OwnerID               string         `json:"ownerId"`
	ClientID              string         `json:"clientId"`
	Domain                string         `json:"domain"`
	IDProviderID          string         `json:"idprovider_id"`
	IsFederated           bool           `json:"isFederated"`
	ParentOrganizationIDs []string       `json:"parentOrganizationIds"`
	SubOrganizationIDs    []string       `json:"subOrganizationIds"`
	TenantOrganizationIDs []string       `json:"tenantOrganizationIds"`
	IsMaster              bool           `json:"isMaster"`
	IsRoot                bool           `json:"isRoot"`
	Subscription          Subscription   `json:"subscription"`
	Properties            map[string]any `json:"properties"`
}

// Subscription is what an organization has bought; here it always has all.
type Subscription struct {
	Category   string `json:"category"`
	Type       string `json:"type"`
	Expiration string `json:"expiration"`
}

// Organization is the answer of GET /accounts/api/organizations/{id}.
type Organization struct {
	ID                 string            `json:"id"`
	Name               string            `json:"name"`
	CreatedAt          string            `json:"createdAt"`
	ParentID           *string           `json:"parentId"`
	IsRoot             bool              `json:"isRoot"`
	IsMaster           bool              `json:"isMaster"`
	Domain             string            `json:"domain"`
	Owner              OrganizationOwner `json:"owner"`
	Subscription       Subscription      `json:"subscription"`
	SubOrganizationIDs []string          `json:"subOrganizationIds"`
	Environments       []Environment     `json:"environments"`
	Entitlements       map[string]any    `json:"entitlements"`
}

// OrganizationOwner is the user who owns an organization.
type OrganizationOwner struct {
	ID       string `json:"id"`
	Username string `json:"username"`
}

// Environment is one environment of an organization. Type is design, sandbox
// or production.
type Environment struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	OrganizationID string `json:"organizationId"`
	IsProduction   bool   `json:"isProduction"`
	Type           string `json:"type"`
	ClientID       string `json:"clientId"`
}

// OrganizationNode is an organization with those below it, the answer of
// GET /accounts/api/organizations/{id}/hierarchy.
type OrganizationNode struct {
	ID               string             `json:"id"`
	Name             string             `json:"name"`
	IsRoot           bool               `json:"isRoot"`
	SubOrganizations []OrganizationNode `json:"subOrganizations"`
}

// FullSubscription is the subscription of every organization here: nothing is
// sold, and nothing runs out.
func FullSubscription() Subscription {
	return Subscription{Category: "Customer", Type: "Unlimited", Expiration: "9999-12-31T23:59:59.000Z"}
}
