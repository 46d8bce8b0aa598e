// SPDX-License-Identifier: Apache-2.0

package kubesecret

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/refresher"
)

const (
	// Label with the value LabelValue marks a Secret that refreshers keep, also one
	// that somebody made for them.
	// On: Secrets of --secret. Set by: the refresher, or the owner of a Secret.
	Label = "connectedapps.dev/kept-by"
	// LabelValue is the value of Label.
	LabelValue = "refresher"
)

// Annotations and labels of api/v1alpha1, which would bring the Kubernetes
// libraries with it. A test holds them to it.
const (
	annotationIssuedAt    = "connectedapps.dev/issued-at"
	annotationIssuedFor   = "connectedapps.dev/issued-for"
	annotationContentHash = "connectedapps.dev/content-hash"
	labelSecret           = "connectedapps.dev/secret"
	labelAccessToken      = "connectedapps.dev/access-token"
	labelConnectedApp     = "connectedapps.dev/connected-app"
	secretManaged         = "managed"
	groupPrefix           = "connectedapps.dev/"
)

const typeOpaque = "Opaque"

// secret is the part of a Secret that is read.
type secret struct {
	Metadata  metadata          `json:"metadata"`
	Type      string            `json:"type"`
	Immutable bool              `json:"immutable"`
	Data      map[string][]byte `json:"data"`
}

type metadata struct {
	Namespace       string            `json:"namespace"`
	Name            string            `json:"name"`
	ResourceVersion string            `json:"resourceVersion"`
	Labels          map[string]string `json:"labels"`
	Annotations     map[string]string `json:"annotations"`
	OwnerReferences []owner           `json:"ownerReferences"`
}

type owner struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
}

// tokenKeys are the keys a token has in a Secret.
var tokenKeys = []string{
	refresher.KeyAccessToken, refresher.KeyTokenType, refresher.KeyExpiresAt, refresher.KeyTokenJSON, refresher.KeyIDToken,
}

// contentHash covers the keys a token has, as that of an AccessToken's Secret
// does.
func contentHash(data map[string][]byte) string {
	h := sha256.New()
	for _, key := range tokenKeys {
		sum := sha256.Sum256(data[key])
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// held is the token in the Secret; nil when there is none or somebody changed it.
func (s *secret) held() *refresher.Held {
	if s == nil || s.Metadata.Annotations[annotationContentHash] != contentHash(s.Data) {
		return nil
	}
	token, err := refresher.ParseFiles(s.Data)
	if err != nil {
		return nil
	}
	issued, err := time.Parse(time.RFC3339, s.Metadata.Annotations[annotationIssuedAt])
	if err != nil || !issued.Before(token.ExpiresAt) {
		return nil
	}
	token.IssuedAt = issued
	return &refresher.Held{Token: token, Purpose: s.Metadata.Annotations[annotationIssuedFor]}
}

// foreign says why the Secret must not be written, or is empty.
func (s *secret) foreign() string {
	m := s.Metadata
	name := m.Namespace + "/" + m.Name
	for _, o := range m.OwnerReferences {
		if strings.HasPrefix(o.APIVersion, groupPrefix) {
			return s.kept(name, o.Kind+" "+o.Name)
		}
	}
	switch {
	case m.Labels[labelAccessToken] != "":
		return s.kept(name, "AccessToken "+m.Labels[labelAccessToken])
	case m.Labels[labelConnectedApp] != "":
		return s.kept(name, "ConnectedApp "+m.Labels[labelConnectedApp])
	case m.Labels[labelSecret] == secretManaged:
		return s.kept(name, "the Connected Apps operator")
	case m.Labels[Label] != LabelValue:
		return fmt.Sprintf("Secret %s is there and does not have the label %s: %s, so it was left as it is: choose another --secret, delete it, "+
			"or let the refresher write its keys into it: kubectl -n %s label secret %s %s=%s", name, Label, LabelValue, m.Namespace, m.Name, Label, LabelValue)
	case s.Type != typeOpaque:
		return fmt.Sprintf("Secret %s is of type %s, and a token Secret is of type %s: delete it, or choose another --secret", name, s.Type, typeOpaque)
	case s.Immutable:
		return fmt.Sprintf("Secret %s is immutable, so no new token can be written: delete it, or choose another --secret", name)
	}
	return ""
}

func (s *secret) kept(name, by string) string {
	return fmt.Sprintf("Secret %s is kept by %s, so it was left as it is: mount it without a refresher, or choose another --secret", name, by)
}

// content is what a Secret with the token has; nothing for nil.
func content(token *refresher.Held) (data map[string][]byte, annotations map[string]string) {
	if token == nil {
		return nil, nil
	}
	data = refresher.Files(token.Token)
	return data, map[string]string{
		annotationIssuedAt:    token.IssuedAt.UTC().Format(time.RFC3339),
		annotationIssuedFor:   string(refresher.Purpose(token.Purpose).Identity()),
		annotationContentHash: contentHash(data),
	}
}

// manifest is a Secret with the token as it is made; with nothing for nil.
func manifest(namespace, name string, token *refresher.Held) map[string]any {
	meta := map[string]any{"namespace": namespace, "name": name}
	m := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": meta}
	if token != nil {
		meta["labels"] = map[string]string{Label: LabelValue}
		m["data"], meta["annotations"] = content(token)
	}
	return m
}

// patch is a JSON merge patch (RFC 7386); null removes.
type patch struct {
	Metadata patchMetadata      `json:"metadata"`
	Data     map[string]*[]byte `json:"data"`
}

type patchMetadata struct {
	// ResourceVersion makes the API server refuse the patch when the Secret is
	// another by now.
	ResourceVersion string             `json:"resourceVersion"`
	Annotations     map[string]*string `json:"annotations"`
}

// change is the patch that makes the Secret hold the token, nil for none; nil
// when it does already. Keys and annotations of others stay.
func (s *secret) change(token *refresher.Held) *patch {
	data, annotations := content(token)
	p := &patch{
		Metadata: patchMetadata{ResourceVersion: s.Metadata.ResourceVersion, Annotations: map[string]*string{}},
		Data:     map[string]*[]byte{},
	}
	for _, key := range tokenKeys {
		value, want := data[key]
		if present, is := s.Data[key]; want != is || !slices.Equal(value, present) {
			p.Data[key] = pointer(value, want)
		}
	}
	for _, name := range []string{annotationIssuedAt, annotationIssuedFor, annotationContentHash} {
		value, want := annotations[name]
		if present, is := s.Metadata.Annotations[name]; want != is || value != present {
			p.Metadata.Annotations[name] = pointer(value, want)
		}
	}
	if len(p.Data) == 0 && len(p.Metadata.Annotations) == 0 {
		return nil
	}
	return p
}

// pointer is nil, null in JSON, for what is not wanted.
func pointer[T any](value T, want bool) *T {
	if !want {
		return nil
	}
	return &value
}
