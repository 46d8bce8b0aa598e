// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"connectedapps.dev/operator/api/v1alpha1"
)

// fields are the members of a Client by the names they have in the spec, with
// which it is told what was asked of the server from what somebody else did. Their
// order is that of the digests in a record, which older versions wrote: a new field
// goes to the end, and one that is no more leaves its place.
var fields = [...]struct {
	name   string
	member func(*Client) any
}{
	{FieldClientName, func(c *Client) any { return &c.Name }},
	{FieldClientType, func(c *Client) any { return &c.AuthMethod }},
	{FieldTokenEndpointAuthMethod, func(c *Client) any { return &c.AuthMethod }},
	{FieldGrantTypes, func(c *Client) any { return &c.GrantTypes }},
	{FieldRedirectURIs, func(c *Client) any { return &c.RedirectURIs }},
	{FieldPostLogoutRedirectURIs, func(c *Client) any { return &c.PostLogoutRedirectURIs }},
	{FieldScopes, func(c *Client) any { return &c.Scopes }},
	{FieldAudience, func(c *Client) any { return &c.Audience }},
	{FieldPublicKeys, func(c *Client) any { return &c.PublicKeys }},
	{FieldIdentityProviders, func(c *Client) any { return &c.IdentityProviders }},
	{FieldAssertionsWithoutExpiry, func(c *Client) any { return &c.AssertionsWithoutExpiry }},
	{FieldSkipUserConsent, func(c *Client) any { return &c.SkipUserConsent }},
	{FieldAccessTokenFormat, func(c *Client) any { return &c.AccessTokenFormat }},
	{FieldAccessTokenSigningAlg, func(c *Client) any { return &c.AccessTokenAlg }},
	{FieldIDTokenSigningAlg, func(c *Client) any { return &c.IDTokenAlg }},
	{FieldRefreshGraceSeconds, func(c *Client) any { return &c.RefreshGrace }},
	{FieldClientURI, func(c *Client) any { return &c.ClientURI }},
	{FieldPolicyURI, func(c *Client) any { return &c.PolicyURI }},
	{FieldTOSURI, func(c *Client) any { return &c.TOSURI }},
	{FieldEnabled, func(c *Client) any { return &c.Enabled }},
	{FieldServiceAccounts, func(c *Client) any { return &c.Identities }},
}

// place is where a field's digest is in a record; -1: there is no such field.
func place(field string) int {
	for i := range fields {
		if fields[i].name == field {
			return i
		}
	}
	return -1
}

// memberOf is the member of c that a field stands for; nil: there is no such field.
func memberOf(c *Client, field string) any {
	if i := place(field); i >= 0 {
		return fields[i].member(c)
	}
	return nil
}

// digest stands for the value of a field in a status.
func digest(c Client, field string) v1alpha1.FieldDigest {
	member := memberOf(&c, field)
	if member == nil {
		return ""
	}
	return digestOf(member)
}

// digestLength is that of every digest.
const digestLength = 8

func digestOf(value any) v1alpha1.FieldDigest {
	text, err := json.Marshal(value)
	if err != nil {
		return "" // strings, lists and booleans always have a JSON text
	}
	sum := sha256.Sum256(text)
	return v1alpha1.FieldDigest(base64.RawURLEncoding.EncodeToString(sum[:6]))
}

// NotKept stands for what a server made of a field that it was given. It says
// nothing of another value: somebody else put that there.
func NotKept(got, given Client, field string) v1alpha1.FieldDigest {
	made, asked := memberOf(&got, field), memberOf(&given, field)
	if made == nil {
		return ""
	}
	return digestOf([]any{unordered(made), unordered(asked)})
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
	if to := memberOf(c, field); to != nil {
		assign(to, memberOf(&from, field))
	}
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

// digests are those of a client in the order of fields; empty where nothing is
// known.
type digests [len(fields)]v1alpha1.FieldDigest

const separator = "."

// digestsOf are those of a client that is like c.
func digestsOf(c *Client) digests {
	var d digests
	for i := range fields {
		d[i] = digestOf(fields[i].member(c))
	}
	return d
}

// parse reads what String wrote. Of what somebody else wrote there, nothing is
// known.
func parse(text string) digests {
	var d digests
	i := 0
	for digest := range strings.SplitSeq(text, separator) {
		if i < len(d) && len(digest) == digestLength {
			d[i] = v1alpha1.FieldDigest(digest)
		}
		i++
	}
	return d
}

func (d digests) String() string {
	texts := make([]string, len(d))
	for i, digest := range d {
		texts[i] = string(digest)
	}
	return strings.Join(texts, separator)
}

// of is a field's digest; empty: it is not known.
func (d digests) of(field string) v1alpha1.FieldDigest {
	if i := place(field); i >= 0 {
		return d[i]
	}
	return ""
}

// Compared is the record of a comparison: the client is like target, but for
// the fields in drift, which somebody else changed, and those in notKept, which
// the server was given and did not keep, as NotKept says. before is the record so
// far.
func Compared(
	before *v1alpha1.ComparedClient, revision string, target Client, drift []Change, notKept map[string]v1alpha1.FieldDigest,
) *v1alpha1.ComparedClient {
	compared, now := &v1alpha1.ComparedClient{Revision: revision}, digestsOf(&target)
	if before != nil {
		known := parse(before.Digests)
		for _, c := range drift {
			if i := place(c.Field); i >= 0 && known[i] != "" {
				now[i] = known[i]
			}
		}
		for field, value := range before.NotKept {
			if known.of(field) == now.of(field) {
				compared.NotKept = keepValue(compared.NotKept, field, value)
			}
		}
	}
	for field, value := range notKept {
		compared.NotKept = keepValue(compared.NotKept, field, value)
	}
	compared.Digests = now.String()
	return compared
}

// Uncompared takes fields out of a record, as if they had never been compared.
func Uncompared(compared *v1alpha1.ComparedClient, changes []Change) {
	known := parse(compared.Digests)
	for _, c := range changes {
		if i := place(c.Field); i >= 0 {
			known[i] = ""
		}
	}
	compared.Digests = known.String()
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
	known := parse(compared.Digests).of(c.Field)
	return known != "" && known == digest(want, c.Field)
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
	want := in.Policy.judge(desired(in)).Client
	return parse(compared.Digests) == digestsOf(&want) && publishedWell(in)
}
