// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"connectedapps.dev/operator/api/v1alpha1"
)

// fields are the members of a Client by the names they have in the spec, with
// which it is told what was asked of the server from what somebody else did.
var fields = map[string]func(*Client) any{
	FieldClientName:              func(c *Client) any { return &c.Name },
	FieldClientType:              func(c *Client) any { return &c.AuthMethod },
	FieldTokenEndpointAuthMethod: func(c *Client) any { return &c.AuthMethod },
	FieldGrantTypes:              func(c *Client) any { return &c.GrantTypes },
	FieldRedirectURIs:            func(c *Client) any { return &c.RedirectURIs },
	FieldPostLogoutRedirectURIs:  func(c *Client) any { return &c.PostLogoutRedirectURIs },
	FieldScopes:                  func(c *Client) any { return &c.Scopes },
	FieldAudience:                func(c *Client) any { return &c.Audience },
	FieldPublicKeys:              func(c *Client) any { return &c.PublicKeys },
	FieldIdentityProviders:       func(c *Client) any { return &c.IdentityProviders },
	FieldServiceAccounts:         func(c *Client) any { return &c.Identities },
	FieldAssertionsWithoutExpiry: func(c *Client) any { return &c.AssertionsWithoutExpiry },
	FieldSkipUserConsent:         func(c *Client) any { return &c.SkipUserConsent },
	FieldAccessTokenFormat:       func(c *Client) any { return &c.AccessTokenFormat },
	FieldAccessTokenSigningAlg:   func(c *Client) any { return &c.AccessTokenAlg },
	FieldIDTokenSigningAlg:       func(c *Client) any { return &c.IDTokenAlg },
	FieldRefreshGraceSeconds:     func(c *Client) any { return &c.RefreshGrace },
	FieldClientURI:               func(c *Client) any { return &c.ClientURI },
	FieldPolicyURI:               func(c *Client) any { return &c.PolicyURI },
	FieldTOSURI:                  func(c *Client) any { return &c.TOSURI },
	FieldEnabled:                 func(c *Client) any { return &c.Enabled },
}

// digest stands for the value of a field in a status.
func digest(c Client, field string) v1alpha1.FieldDigest {
	member, ok := fields[field]
	if !ok {
		return ""
	}
	text, err := json.Marshal(member(&c))
	if err != nil {
		return "" // strings, lists and booleans always have a JSON text
	}
	sum := sha256.Sum256(text)
	return v1alpha1.FieldDigest(hex.EncodeToString(sum[:6]))
}

// NotKept stands for what a server made of a field that it was given. It says
// nothing of another value: somebody else put that there.
func NotKept(got, given Client, field string) v1alpha1.FieldDigest {
	member, ok := fields[field]
	if !ok {
		return ""
	}
	text, err := json.Marshal([]any{unordered(member(&got)), unordered(member(&given))})
	if err != nil {
		return "" // as in digest
	}
	sum := sha256.Sum256(text)
	return v1alpha1.FieldDigest(hex.EncodeToString(sum[:6]))
}

// unordered is a member without the order of a list, which a server may answer
// with as it likes.
func unordered(member any) any {
	if list, ok := member.(*[]string); ok {
		return sorted(*list)
	}
	return member
}

// copyField gives c the field of another client.
func copyField(c *Client, from Client, field string) {
	member, ok := fields[field]
	if !ok {
		return
	}
	assign(member(c), member(&from))
}

func assign(to, from any) {
	switch to := to.(type) {
	case *string:
		*to = *from.(*string)
	case *bool:
		*to = *from.(*bool)
	case *[]string:
		*to = slices.Clone(*from.(*[]string))
	case *[]Scope:
		*to = slices.Clone(*from.(*[]Scope))
	case *[]Identity:
		*to = slices.Clone(*from.(*[]Identity))
	case **int64:
		*to = *from.(**int64)
	}
}

// Compared is the record of a comparison: the client is like target, but for
// the fields in drift, which somebody else changed, and those in notKept, which
// the server was given and did not keep, as NotKept says. before is the record so
// far.
func Compared(
	before *v1alpha1.ComparedClient, revision string, target Client, drift []Change, notKept map[string]v1alpha1.FieldDigest,
) *v1alpha1.ComparedClient {
	record := &v1alpha1.ComparedClient{Revision: revision, Fields: make(map[string]v1alpha1.FieldDigest, len(fields))}
	for field := range fields {
		record.Fields[field] = digest(target, field)
	}
	if before != nil {
		for _, c := range drift {
			if known, ok := before.Fields[c.Field]; ok {
				record.Fields[c.Field] = known
			}
		}
		for field, value := range before.NotKept {
			if before.Fields[field] == record.Fields[field] {
				record.NotKept = keepValue(record.NotKept, field, value)
			}
		}
	}
	for field, value := range notKept {
		record.NotKept = keepValue(record.NotKept, field, value)
	}
	return record
}

func keepValue(m map[string]v1alpha1.FieldDigest, key string, value v1alpha1.FieldDigest) map[string]v1alpha1.FieldDigest {
	if m == nil {
		m = map[string]v1alpha1.FieldDigest{}
	}
	m[key] = value
	return m
}

// isDrift tells whether a difference from want is of somebody else's making: the
// client was given this value, or found with it, or was not made for the app.
func isDrift(in Input, want Client, c Change) bool {
	compared := in.App.Status.Compared
	if compared == nil {
		return in.Live.Client.Adopted
	}
	return compared.Fields[c.Field] != "" && compared.Fields[c.Field] == digest(want, c.Field)
}

// notKept tells whether the difference from want is what the server is known to
// make of that value.
func notKept(in Input, want Client, c Change) bool {
	compared := in.App.Status.Compared
	return compared != nil && compared.NotKept[c.Field] != "" && compared.NotKept[c.Field] == NotKept(in.Live.Client.Client, want, c.Field)
}

// ReportsDrift tells whether the client was last found with what somebody else
// made of it, and left so. Then what the spec says tells nothing of the client.
func ReportsDrift(app *v1alpha1.ConnectedApp) bool {
	return meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionDrifted)
}

// Settled tells whether client and Secret were last found, or made, as the spec
// and the access rules want them now. Then an unchanged revision proves that the
// client still is so, and a server that is away is not missed.
func Settled(in Input) bool {
	compared := in.App.Status.Compared
	if compared == nil || in.Policy == nil || hindrance(in) != nil || in.SecretHindrance != nil || in.App.Status.ClientID == "" {
		return false
	}
	want := Judge(desired(in), in.Policy.Namespace, in.Policy.Rules, in.Policy.OrganizationID).Client
	now := make(map[string]v1alpha1.FieldDigest, len(fields))
	for field := range fields {
		now[field] = digest(want, field)
	}
	return maps.Equal(now, compared.Fields) && publishedWell(in)
}
