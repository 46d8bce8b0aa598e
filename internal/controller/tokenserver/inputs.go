// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// Keys of the Secret with the manager's credentials.
const (
	keyClientID     = "client-id"
	keyClientSecret = "client-secret"
)

// configuration gathers from the spec, the Secret and the ConfigMap how to
// connect.
func (r *Reconciler) configuration(ctx context.Context, server *v1alpha1.TokenServer) (registrar.Config, error) {
	config := registrar.Config{
		URL:            server.Spec.URL,
		InternalURL:    server.Spec.InternalURL,
		OrganizationID: server.Spec.OrganizationID,
		Timeout:        r.ProbeTimeout,
		Transport:      r.Tracing.Transport,
	}
	if n := server.Spec.RequestsPerSecond; n != nil {
		config.RequestsPerSecond = float64(*n)
	}
	var err error
	if spec := server.Spec.Credentials; spec.Type == v1alpha1.TokenServerCredentialsServiceAccount {
		audience := cmp.Or(spec.Audience, server.Spec.URL+oauth.IssuerPath)
		config.ClientID, config.Assertion = spec.ClientID, func(ctx context.Context) (string, error) { return r.OwnTokens.Get(ctx, audience) }
	} else if config.ClientID, config.ClientSecret, err = r.credentials(ctx, spec); err != nil {
		return config, err
	}
	config.CABundle, err = r.caBundle(ctx, server.Spec.CABundle)
	return config, err
}

func (r *Reconciler) credentials(ctx context.Context, spec v1alpha1.TokenServerCredentials) (id, secret string, err error) {
	if spec.SecretRef == nil {
		return "", "", status.WaitingError(v1alpha1.ReasonCredentialsMissing, 0, "spec.credentials names no Secret")
	}
	name := spec.SecretRef.Name
	object := &corev1.Secret{}
	err = r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		return "", "", status.WaitingError(v1alpha1.ReasonCredentialsMissing, 0, "there is no Secret %s in namespace %s", name, r.Namespace)
	}
	if err != nil {
		return "", "", status.TransientError(v1alpha1.ReasonCredentialsMissing, err, "reading Secret %s failed", name)
	}
	for _, key := range []string{keyClientID, keyClientSecret} {
		if len(object.Data[key]) == 0 {
			return "", "", status.WaitingError(v1alpha1.ReasonCredentialsMissing, 0, "Secret %s has no key %s", name, key)
		}
		if fault := faultOf(object.Data[key]); fault != "" {
			return "", "", status.StalledError(v1alpha1.ReasonCredentialsInvalid, "Secret %s in namespace %s, key %s %s", name, r.Namespace, key, fault)
		}
	}
	return string(object.Data[keyClientID]), string(object.Data[keyClientSecret]), nil
}

// faultOf says what is wrong with a credential that no server could accept, and
// how it got there: it is not corrected in silence, since others read the Secret
// as well.
func faultOf(value []byte) string {
	text := string(value)
	switch {
	case strings.TrimRight(text, "\r\n") != text:
		return "ends with a line end, as echo and most editors write it; make it with printf '%s', or with kubectl create secret --from-literal"
	case strings.TrimSpace(text) != text:
		return "begins or ends with white space; make it without, as with kubectl create secret --from-literal"
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError || r == '\ufeff' }):
		return "holds characters that no credential has, such as line ends or the byte order mark of a file"
	}
	return ""
}

// caBundle returns the certificates to trust; nil means the system's.
func (r *Reconciler) caBundle(ctx context.Context, spec *v1alpha1.CABundle) ([]byte, error) {
	if spec == nil {
		return nil, nil
	}
	reference := spec.ConfigMapRef
	object := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: reference.Name}, object)
	if apierrors.IsNotFound(err) {
		return nil, status.WaitingError(v1alpha1.ReasonCABundleInvalid, 0, "there is no ConfigMap %s in namespace %s", reference.Name, r.Namespace)
	}
	if err != nil {
		return nil, status.TransientError(v1alpha1.ReasonCABundleInvalid, err, "reading ConfigMap %s failed", reference.Name)
	}
	bundle, ok := object.Data[reference.Key]
	if !ok {
		return nil, status.WaitingError(v1alpha1.ReasonCABundleInvalid, 0, "ConfigMap %s has no key %s", reference.Name, reference.Key)
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(bundle)) {
		return nil, status.WaitingError(v1alpha1.ReasonCABundleInvalid, 0, "ConfigMap %s, key %s holds no PEM certificate", reference.Name, reference.Key)
	}
	return []byte(bundle), nil
}

// fingerprint tells configurations apart without keeping their secrets. The UID
// makes an object that was deleted and made anew another one.
func fingerprint(server *v1alpha1.TokenServer, config registrar.Config) string {
	data, err := json.Marshal([]any{server.UID, config, server.Spec.Credentials})
	if err != nil {
		panic(err) // strings and numbers
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
