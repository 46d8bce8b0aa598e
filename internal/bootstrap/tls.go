// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	keyCA = "ca.crt"
	// publishedFirst is how long an authority is published before it has to sign:
	// longer than a ConfigMap takes to reach those who mounted it.
	publishedFirst = 24 * time.Hour
)

// ensureTLS makes the authority, publishes its certificate, then makes the
// server's: whoever meets the new certificate can trust it already.
//
// What derives from the authority is read before it. A write whose resource
// version is still good therefore never takes the place of what another manager
// derived from a later authority.
func (r *Runnable) ensureTLS(ctx context.Context) error {
	server, err := r.secret(ctx, TLSSecret)
	if err != nil {
		return err
	}
	published, err := r.configMap(ctx, CAConfigMap)
	if err != nil {
		return err
	}
	live, err := r.secret(ctx, CASecret)
	if err != nil {
		return err
	}
	authority, err := r.ensureAuthority(ctx, live, published, server)
	if err != nil {
		return err
	}
	if err := r.publish(ctx, published, authority); err != nil {
		return err
	}
	return r.ensureServer(ctx, server, authority)
}

// authority signs, and is trusted together with the authorities before it.
type authority struct {
	*keyPair
	ours bool
	// bundle begins with the authority's own certificate.
	bundle []*x509.Certificate
}

// ensureAuthority returns the authority, made anew when there is none that can
// sign or it is due. The Secret holds the bundle too: one write changes both.
func (r *Runnable) ensureAuthority(ctx context.Context, live *corev1.Secret, published *corev1.ConfigMap, server *corev1.Secret) (*authority, error) {
	pair, usable := r.readAuthority(live)
	if live != nil && !ours(live, corev1.TLSPrivateKeyKey) {
		if !usable {
			return nil, problemf(eventNotOurs, live, "Secret %s in namespace %s holds no valid certificate authority with an ECDSA key in %s and %s, "+
				"and somebody else made it: mend it, delete it and the manager makes its own, or run the manager with --manage-tls=false",
				CASecret, r.Namespace, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
		}
		return &authority{keyPair: pair, bundle: r.bundle(pair, server, bundleIn(published))}, nil
	}
	former := formerAuthorities(live, published, server)
	reason := eventRestored
	if !usable || pair.due(r.now()) {
		if pair != nil {
			former = append([]*x509.Certificate{pair.certificate}, former...)
			reason = eventRenewed
		}
		var err error
		if pair, err = newAuthority(r.now()); err != nil {
			return nil, err
		}
	}
	a := &authority{keyPair: pair, ours: true, bundle: r.bundle(pair, server, former)}
	return a, r.writeTLS(ctx, live, CASecret, a.keyPair, a.bundle, reason)
}

// readAuthority returns the pair in a Secret, nil when there is none, and whether
// it can sign now.
func (r *Runnable) readAuthority(live *corev1.Secret) (pair *keyPair, usable bool) {
	if live == nil {
		return nil, false
	}
	pair, err := parsePair(live.Data[corev1.TLSCertKey], live.Data[corev1.TLSPrivateKeyKey])
	if err != nil || !pair.certificate.IsCA {
		return nil, false
	}
	return pair, pair.validAt(r.now())
}

// formerAuthorities are those that the authority's Secret says were there before.
// Without it, what was published is all that is known of them.
func formerAuthorities(live *corev1.Secret, published *corev1.ConfigMap, server *corev1.Secret) []*x509.Certificate {
	if live != nil && len(live.Data[keyCA]) > 0 {
		return parseCertificates(live.Data[keyCA])
	}
	former := bundleIn(published)
	if server != nil {
		former = append(former, parseCertificates(server.Data[keyCA])...)
	}
	return former
}

func bundleIn(published *corev1.ConfigMap) []*x509.Certificate {
	if published == nil {
		return nil
	}
	return parseCertificates([]byte(published.Data[keyCA]))
}

// maxFormer bounds the bundle, which grows each time that somebody deletes the
// authority.
const maxFormer = 8

// bundle is the authority's certificate and those of authorities made here before
// it: certificates they signed may still be in use. The one that signed the
// server's stays whoever made it.
func (r *Runnable) bundle(pair *keyPair, server *corev1.Secret, former []*x509.Certificate) []*x509.Certificate {
	bundle := []*x509.Certificate{pair.certificate}
	signed := func(*x509.Certificate) bool { return false }
	if server != nil {
		if leaf, err := parsePair(server.Data[corev1.TLSCertKey], server.Data[corev1.TLSPrivateKeyKey]); err == nil {
			signed = leaf.signedBy
		}
	}
	for _, c := range former {
		needed := signed(c)
		if !c.IsCA || r.now().After(c.NotAfter) || holds(bundle, c) ||
			!needed && (c.Subject.CommonName != authorityName || len(bundle) > maxFormer) {
			continue
		}
		bundle = append(bundle, c)
	}
	return bundle
}

// publish writes the bundle where those who connect find it.
func (r *Runnable) publish(ctx context.Context, live *corev1.ConfigMap, a *authority) error {
	if live == nil {
		return r.create(ctx, r.newConfigMap(CAConfigMap, map[string]string{keyCA: string(encodeCertificates(a.bundle))}))
	}
	if !ours(live, keyCA) {
		if !holds(bundleIn(live), a.certificate) {
			return problemf(eventNotOurs, live, "ConfigMap %s in namespace %s does not trust the authority of Secret %s, and somebody else made it: "+
				"add the Secret's %s to its key %s, or delete the ConfigMap and the manager makes its own", CAConfigMap, r.Namespace, CASecret, corev1.TLSCertKey, keyCA)
		}
		return nil
	}
	changed := live.DeepCopy()
	setLabels(changed)
	if changed.Data == nil {
		changed.Data = map[string]string{}
	}
	changed.Data[keyCA] = string(encodeCertificates(a.bundle))
	return r.update(ctx, live, changed, a.whyOther(bundleIn(live)))
}

// whyOther tells whether a bundle is another because there is a new authority, or
// because somebody changed it.
func (a *authority) whyOther(before []*x509.Certificate) string {
	if len(before) == 0 || holds(before, a.certificate) {
		return eventRestored
	}
	for _, c := range before {
		if c.Subject.CommonName != authorityName {
			return eventRestored
		}
	}
	return eventRenewed
}

// ensureServer makes the server's certificate, and anew when it is due or cannot
// be used.
func (r *Runnable) ensureServer(ctx context.Context, live *corev1.Secret, a *authority) error {
	if live != nil && !ours(live, corev1.TLSPrivateKeyKey) {
		return r.checkForeign(live)
	}
	n := serverNames(r.Namespace)
	reason := eventRestored
	if live != nil {
		pair, err := parsePair(live.Data[corev1.TLSCertKey], live.Data[corev1.TLSPrivateKeyKey])
		if err == nil && r.stillGood(pair, n, a) {
			return r.writeTLS(ctx, live, TLSSecret, pair, a.bundle, a.whyOther(parseCertificates(live.Data[keyCA])))
		}
		if err == nil {
			reason = eventRenewed
		}
	}
	pair, err := newLeaf(a.keyPair, n, r.now())
	if err != nil {
		return err
	}
	return r.writeTLS(ctx, live, TLSSecret, pair, a.bundle, reason)
}

// stillGood tells whether the server's certificate stays. One of an earlier
// authority is trusted until it is due, and a new authority does not replace it
// before its own certificate had the time to reach everybody.
func (r *Runnable) stillGood(pair *keyPair, n names, a *authority) bool {
	now := r.now()
	if !pair.validAt(now) || !pair.serves(n) || !a.vouchesFor(pair) {
		return false
	}
	young := a.ours && now.Before(a.certificate.NotBefore.Add(publishedFirst)) && !pair.signedBy(a.certificate)
	return !pair.due(now) || young && now.Add(publishedFirst).Before(pair.certificate.NotAfter)
}

// vouchesFor tells whether whoever trusts the authority trusts pair. Of somebody
// else's authority only itself counts: what they replaced it for is not known.
func (a *authority) vouchesFor(pair *keyPair) bool {
	if !a.ours {
		return pair.signedBy(a.certificate)
	}
	for _, c := range a.bundle {
		if pair.signedBy(c) {
			return true
		}
	}
	return false
}

// checkForeign tells when the certificate that somebody brought cannot be used.
func (r *Runnable) checkForeign(live *corev1.Secret) error {
	const advice = "and somebody else made it: renew it, delete it and the manager makes its own, or run the manager with --manage-tls=false"
	pair, err := tls.X509KeyPair(live.Data[corev1.TLSCertKey], live.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return problemf(eventNotOurs, live, "Secret %s in namespace %s holds no certificate with its key in %s and %s, %s",
			TLSSecret, r.Namespace, corev1.TLSCertKey, corev1.TLSPrivateKeyKey, advice)
	}
	if now := r.now(); now.After(pair.Leaf.NotAfter) {
		return problemf(eventNotOurs, live, "Secret %s in namespace %s: the certificate in %s expired at %s, %s",
			TLSSecret, r.Namespace, corev1.TLSCertKey, pair.Leaf.NotAfter.UTC().Format(time.RFC3339), advice)
	}
	return nil
}

// writeTLS creates the Secret, or changes what differs. Other keys in it stay.
func (r *Runnable) writeTLS(ctx context.Context, live *corev1.Secret, name string, pair *keyPair, bundle []*x509.Certificate, reason string) error {
	data := map[string][]byte{keyCA: encodeCertificates(bundle)}
	if live == nil {
		data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey] = pair.certificatePEM(), pair.keyPEM()
		return r.create(ctx, r.newSecret(name, corev1.SecretTypeTLS, data))
	}
	// A pair that stays keeps its spelling.
	if before, err := parsePair(live.Data[corev1.TLSCertKey], live.Data[corev1.TLSPrivateKeyKey]); err != nil || !before.certificate.Equal(pair.certificate) {
		data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey] = pair.certificatePEM(), pair.keyPEM()
	}
	return r.update(ctx, live, withData(live, data), reason)
}

func holds(list []*x509.Certificate, c *x509.Certificate) bool {
	if c == nil {
		return false
	}
	for _, other := range list {
		if other.Equal(c) {
			return true
		}
	}
	return false
}
