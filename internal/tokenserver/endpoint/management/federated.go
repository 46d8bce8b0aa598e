// SPDX-License-Identifier: Apache-2.0

package management

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const maxFederatedIdentities = 100

// dnsName is a DNS subdomain of any length: one that counts takes 250 KiB.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
var dnsName = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)

// isDNSLabel is what the name of a namespace is, isDNSSubdomain that of a ServiceAccount.
func isDNSLabel(name string) bool {
	return len(name) <= 63 && dnsName.MatchString(name) && !strings.Contains(name, ".")
}

func isDNSSubdomain(name string) bool { return len(name) <= 253 && dnsName.MatchString(name) }

const serviceAccountPrefix = "system:serviceaccount:"

var federatedMembers = foldedNames("issuer_name", "subject")

func readFederatedIdentities(path string, v any) ([]storage.FederatedIdentity, error) {
	list, err := readList(path, v, "objects", maxFederatedIdentities, readFederatedIdentity)
	if err != nil {
		return nil, err
	}
	for i, identity := range list {
		if slices.Contains(list[:i], identity) {
			return nil, httpx.BadRequest("%s: is listed twice", element(path, i))
		}
	}
	return list, nil
}

// readFederatedIdentity takes no member that it does not know: what limits an
// identity must not be passed over.
func readFederatedIdentity(path string, v any) (storage.FederatedIdentity, error) {
	var none storage.FederatedIdentity
	object, ok := v.(map[string]any)
	if !ok {
		return none, wrongType(path, `an object such as {"issuer_name":…,"subject":…}`, v)
	}
	if err := federatedMembers.refuse(path, object); err != nil {
		return none, err
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if name != "issuer_name" && name != "subject" {
			return none, httpx.BadRequest("%s: unknown member %s; known are issuer_name and subject", path, shorten(name))
		}
	}
	issuer, _ := object["issuer_name"].(string)
	subject, _ := object["subject"].(string)
	switch {
	case issuer == "":
		return none, httpx.BadRequest("%s: issuer_name is required: the name of a workload issuer of the server", path)
	case !isServiceAccount(subject):
		return none, httpx.BadRequest("%s: subject must be %sNAMESPACE:NAME, not %q", path, serviceAccountPrefix, shorten(subject))
	}
	return storage.FederatedIdentity{IssuerName: issuer, Subject: subject}, nil
}

// isServiceAccount tells whether subject is the sub of exactly one ServiceAccount.
func isServiceAccount(subject string) bool {
	rest, ok := strings.CutPrefix(subject, serviceAccountPrefix)
	namespace, name, _ := strings.Cut(rest, ":")
	return ok && isDNSLabel(namespace) && isDNSSubdomain(name)
}

// checkFederated refuses issuers that the server does not know.
func checkFederated(issuers []string, app *storage.App) error {
	for i, identity := range app.FederatedIdentities {
		path := element("federated_identities", i)
		switch {
		case len(issuers) == 0:
			return httpx.BadRequest("%s: the server has no workload issuers: workloadIssuers of its configuration names them", path)
		case !slices.Contains(issuers, identity.IssuerName):
			return httpx.BadRequest("%s: there is no workload issuer %q; there are %s", path, shorten(identity.IssuerName), strings.Join(issuers, ", "))
		}
	}
	return nil
}

func wireFederated(list []storage.FederatedIdentity) []oauth.FederatedIdentity {
	wire := make([]oauth.FederatedIdentity, len(list))
	for i, identity := range list {
		wire[i] = oauth.FederatedIdentity(identity)
	}
	return wire
}
