// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const keyCA = "ca.crt"

// ensureTLS makes the authority, publishes its certificate, then makes the
// server's: whoever meets the new certificate can trust it already.
func (r *Runnable) ensureTLS(ctx context.Context) error {
	authority, err := r.ensureCA(ctx)
	if err != nil {
		return err
	}
	bundle, err := r.ensureBundle(ctx, authority)
	if err != nil {
		return err
	}
	return r.ensureLeaf(ctx, authority, bundle)
}

// ensureCA returns the authority, made anew when there is none or it is due.
func (r *Runnable) ensureCA(ctx context.Context) (*keyPair, error) {
	live, err := r.secret(ctx, CASecret)
	if err != nil {
		return nil, err
	}
	if live != nil {
		pair, err := parsePair(live.Data[corev1.TLSCertKey], live.Data[corev1.TLSPrivateKeyKey])
		switch {
		case err == nil && pair.certificate.IsCA && (!pair.due(r.now()) || !ours(live)):
			return pair, nil
		case !ours(live):
			return nil, fmt.Errorf("the Secret %s holds no certificate authority with an ECDSA key, and somebody else made it: "+
				"mend it, delete it, or run the manager with --manage-tls=false", CASecret)
		}
	}
	pair, err := newAuthority(r.now())
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{corev1.TLSCertKey: pair.certificatePEM(), corev1.TLSPrivateKeyKey: pair.keyPEM()}
	return pair, r.writeTLS(ctx, live, CASecret, data)
}

// ensureBundle publishes the authority's certificate, beside earlier ones that
// have not expired: certificates they signed may still be in use.
func (r *Runnable) ensureBundle(ctx context.Context, authority *keyPair) ([]byte, error) {
	live := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: CAConfigMap}, live)
	if apierrors.IsNotFound(err) {
		bundle := authority.certificatePEM()
		return bundle, r.create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: CAConfigMap, Labels: labels(nil)},
			Data:       map[string]string{keyCA: string(bundle)},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s: %w", CAConfigMap, err)
	}
	bundle := r.bundle(authority, []byte(live.Data[keyCA]))
	if string(bundle) == live.Data[keyCA] || !ours(live) {
		return bundle, nil
	}
	changed := live.DeepCopy()
	if changed.Data == nil {
		changed.Data = map[string]string{}
	}
	changed.Data[keyCA] = string(bundle)
	if err := r.Client.Update(ctx, changed, client.FieldOwner(fieldManager)); err != nil {
		return nil, fmt.Errorf("updating ConfigMap %s: %w", CAConfigMap, err)
	}
	return bundle, nil
}

// bundle is the authority's certificate and those of the authorities made here
// before it.
func (r *Runnable) bundle(authority *keyPair, before []byte) []byte {
	bundle := authority.certificatePEM()
	for block, rest := pem.Decode(before); block != nil; block, rest = pem.Decode(rest) {
		former, err := parseCertificate(block)
		if err != nil || former.Equal(authority.certificate) || !former.IsCA || former.Subject.CommonName != authorityName || r.now().After(former.NotAfter) {
			continue
		}
		bundle = append(bundle, pem.EncodeToMemory(block)...)
	}
	return bundle
}

func (r *Runnable) ensureLeaf(ctx context.Context, authority *keyPair, bundle []byte) error {
	live, err := r.secret(ctx, TLSSecret)
	if err != nil {
		return err
	}
	names := serverNames(r.Namespace)
	if live != nil {
		pair, err := parsePair(live.Data[corev1.TLSCertKey], live.Data[corev1.TLSPrivateKeyKey])
		good := err == nil && !pair.due(r.now()) && pair.serves(names) && pair.signedBy(authority)
		if !ours(live) || good && bytes.Equal(live.Data[keyCA], bundle) {
			return nil
		}
		if good {
			return r.writeTLS(ctx, live, TLSSecret, map[string][]byte{
				corev1.TLSCertKey: live.Data[corev1.TLSCertKey], corev1.TLSPrivateKeyKey: live.Data[corev1.TLSPrivateKeyKey], keyCA: bundle,
			})
		}
	}
	pair, err := newLeaf(authority, names, r.now())
	if err != nil {
		return err
	}
	return r.writeTLS(ctx, live, TLSSecret, map[string][]byte{
		corev1.TLSCertKey: pair.certificatePEM(), corev1.TLSPrivateKeyKey: pair.keyPEM(), keyCA: bundle,
	})
}

// writeTLS creates the Secret, or updates one of ours; the resource version in
// it keeps the write of another from being lost.
func (r *Runnable) writeTLS(ctx context.Context, live *corev1.Secret, name string, data map[string][]byte) error {
	if live == nil {
		return r.create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name, Labels: labels(nil)},
			Type:       corev1.SecretTypeTLS,
			Data:       data,
		})
	}
	changed := live.DeepCopy()
	changed.Data = data
	if err := r.Client.Update(ctx, changed, client.FieldOwner(fieldManager)); err != nil {
		return fmt.Errorf("updating Secret %s: %w", name, err)
	}
	log.FromContext(ctx).Info("renewed", "secret", name)
	return nil
}
