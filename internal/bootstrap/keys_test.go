// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"connectedapps.dev/operator/internal/bootstrap"
)

func record(t *testing.T, r *bootstrap.Runnable) *corev1.ConfigMap {
	t.Helper()
	c := &corev1.ConfigMap{}
	require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: bootstrap.KeysConfigMap}, c))
	return c
}

// idOf is how the token server's messages call an encryption key.
func idOf(t *testing.T, text []byte) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(string(text))
	require.NoError(t, err)
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:4])
}

func encryptionKey(fill byte) []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = fill
	}
	return []byte(base64.StdEncoding.EncodeToString(key))
}

// restarted is the manager after a restart: what it held in memory is gone.
func restarted(r *bootstrap.Runnable) *bootstrap.Runnable {
	return &bootstrap.Runnable{Client: r.Client, Namespace: r.Namespace, Secrets: r.Secrets, TLS: r.TLS, Recorder: r.Recorder, Now: r.Now}
}

func TestALostEncryptionKeyIsToldAndNeverReplaced(t *testing.T) {
	for name, row := range map[string]struct {
		damage func(t *testing.T, r *bootstrap.Runnable, s *corev1.Secret)
		says   string
	}{
		"the Secret is deleted": {
			func(t *testing.T, _ *bootstrap.Runnable, s *corev1.Secret) {
				require.NoError(t, plane.Client.Delete(t.Context(), s))
			},
			"Secret tokenserver-keys is gone from namespace ",
		},
		"the key is removed": {
			func(t *testing.T, _ *bootstrap.Runnable, s *corev1.Secret) {
				edit(t, s, func(s *corev1.Secret) { delete(s.Data, "encryption-key") })
			},
			"holds no encryption key (key encryption-key, base64 of 32 bytes) any more",
		},
		"the key is damaged": {
			func(t *testing.T, _ *bootstrap.Runnable, s *corev1.Secret) {
				edit(t, s, func(s *corev1.Secret) { s.Data["encryption-key"] = []byte("Z2FyYmFnZQ==") })
			},
			"holds no encryption key (key encryption-key, base64 of 32 bytes) any more",
		},
		"the Secret is deleted and the record's content with it": {
			func(t *testing.T, r *bootstrap.Runnable, s *corev1.Secret) {
				require.NoError(t, plane.Client.Delete(t.Context(), s))
				edit(t, record(t, r), func(c *corev1.ConfigMap) { c.Data = nil })
			},
			"of an id that was removed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			r := runnable(t, &now)
			require.NoError(t, r.Ensure(t.Context()))
			good := secret(t, r, bootstrap.KeysSecret)
			id := idOf(t, good.Data["encryption-key"])
			require.Equal(t, id, record(t, r).Data["key-ids"])

			r = restarted(r)
			row.damage(t, r, good.DeepCopy())
			for range 3 {
				err := r.Ensure(t.Context())
				require.ErrorContains(t, err, row.says)
				require.ErrorContains(t, err, "restore the Secret from your backup")
				require.ErrorContains(t, err, "delete its PersistentVolumeClaim, then the ConfigMap tokenserver-keys")
				require.NotContains(t, err.Error(), string(good.Data["encryption-key"]))
				require.Equal(t, err.Error(), r.Trouble())
			}
			noKey(t, r)
			secret(t, r, bootstrap.TLSSecret) // the rest goes on

			// The first way out: the backup.
			restore := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: good.Name, Labels: good.Labels}, Type: good.Type, Data: good.Data}
			require.NoError(t, client.IgnoreNotFound(plane.Client.Delete(t.Context(), restore.DeepCopy())))
			plane.Create(t, restore)
			require.NoError(t, r.Ensure(t.Context()))
			require.Empty(t, r.Trouble())
			require.Equal(t, good.Data, secret(t, r, bootstrap.KeysSecret).Data)
			require.Contains(t, record(t, r).Data["key-ids"], id)
		})
	}
}

func noKey(t *testing.T, r *bootstrap.Runnable) {
	t.Helper()
	s := &corev1.Secret{}
	err := plane.Client.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: bootstrap.KeysSecret}, s)
	require.NoError(t, client.IgnoreNotFound(err))
	raw, err := base64.StdEncoding.DecodeString(string(s.Data["encryption-key"]))
	require.NoError(t, err)
	require.NotEqual(t, 32, len(raw), "no other key")
}

func TestStartingAnewIsTheDeletionOfTheRecord(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	first := secret(t, r, bootstrap.KeysSecret)
	require.NoError(t, plane.Client.Delete(t.Context(), first))
	require.NoError(t, plane.Client.Delete(t.Context(), record(t, r)))
	require.NoError(t, r.Ensure(t.Context()))
	second := secret(t, r, bootstrap.KeysSecret)
	require.NotEqual(t, first.Data, second.Data)
	require.Equal(t, idOf(t, second.Data["encryption-key"]), record(t, r).Data["key-ids"])
}

func TestARunningManagerPutsADeletedKeyBack(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, s *corev1.Secret){
		"the Secret is deleted": func(t *testing.T, s *corev1.Secret) { require.NoError(t, plane.Client.Delete(t.Context(), s)) },
		"the key is removed": func(t *testing.T, s *corev1.Secret) {
			edit(t, s, func(s *corev1.Secret) { delete(s.Data, "encryption-key") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			r := runnable(t, &now)
			require.NoError(t, r.Ensure(t.Context()))
			require.NoError(t, r.Ensure(t.Context()))
			good := secret(t, r, bootstrap.KeysSecret)
			damage(t, good.DeepCopy())
			require.NoError(t, r.Ensure(t.Context()))
			require.Equal(t, good.Data, secret(t, r, bootstrap.KeysSecret).Data, "the same key")
		})
	}
}

func TestAnotherKeyInPlaceOfTheRecordedOneIsTold(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	good := secret(t, r, bootstrap.KeysSecret)
	was := idOf(t, good.Data["encryption-key"])
	edit(t, good, func(s *corev1.Secret) { s.Data["encryption-key"] = encryptionKey(7) })
	now7 := idOf(t, encryptionKey(7))

	err := r.Ensure(t.Context())
	require.ErrorContains(t, err, "holds encryption key "+now7+", and the ConfigMap tokenserver-keys records that the token server was given "+was)
	require.Equal(t, encryptionKey(7), secret(t, r, bootstrap.KeysSecret).Data["encryption-key"], "what somebody put there stays")
	require.Equal(t, was, record(t, r).Data["key-ids"])

	require.NoError(t, plane.Client.Delete(t.Context(), record(t, r)))
	require.NoError(t, r.Ensure(t.Context()))
	require.Equal(t, now7, record(t, r).Data["key-ids"])
}

func TestARotationOfTheEncryptionKeyPassesUnnoticed(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	require.NoError(t, r.Ensure(t.Context()))
	edit(t, secret(t, r, bootstrap.KeysSecret), func(s *corev1.Secret) { s.Data["encryption-key-2"] = encryptionKey(7) })
	require.NoError(t, r.Ensure(t.Context()))
	edit(t, secret(t, r, bootstrap.KeysSecret), func(s *corev1.Secret) { delete(s.Data, "encryption-key") })
	require.NoError(t, r.Ensure(t.Context()))
	require.Equal(t, map[string][]byte{"encryption-key-2": encryptionKey(7)}, secret(t, r, bootstrap.KeysSecret).Data)
	require.NoError(t, restarted(r).Ensure(t.Context()))
}

func TestTheRecordComesBackWhileTheKeyIsThere(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, c *corev1.ConfigMap){
		"deleted": func(t *testing.T, c *corev1.ConfigMap) { require.NoError(t, plane.Client.Delete(t.Context(), c)) },
		"emptied": func(t *testing.T, c *corev1.ConfigMap) { edit(t, c, func(c *corev1.ConfigMap) { c.Data = nil }) },
		"its labels stripped": func(t *testing.T, c *corev1.ConfigMap) {
			edit(t, c, func(c *corev1.ConfigMap) { c.Labels = nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			r := runnable(t, &now)
			require.NoError(t, r.Ensure(t.Context()))
			before := record(t, r)
			damage(t, before.DeepCopy())
			require.NoError(t, r.Ensure(t.Context()))
			require.Equal(t, before.Data, record(t, r).Data)
			require.Equal(t, before.Labels, record(t, r).Labels)
		})
	}
}

// An earlier release kept no record.
func TestAnUpgradeRecordsTheKeyThatIsThere(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	plane.Create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: bootstrap.KeysSecret}, Data: map[string][]byte{"encryption-key": append(encryptionKey(7), '\n')},
	})
	require.NoError(t, r.Ensure(t.Context()))
	require.Equal(t, idOf(t, encryptionKey(7)), record(t, r).Data["key-ids"])
	theirs := secret(t, r, bootstrap.KeysSecret)
	require.Empty(t, theirs.Labels)

	// It is theirs: they put it back, nobody else.
	require.NoError(t, plane.Client.Delete(t.Context(), theirs))
	require.ErrorContains(t, r.Ensure(t.Context()), "is gone from namespace")
	require.True(t, apierrors.IsNotFound(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(theirs), &corev1.Secret{})))
}

func TestWithoutBootstrapSecretsNoKeyIsLookedAt(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	r.Secrets = false
	require.NoError(t, r.Ensure(t.Context()))
	for _, o := range []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}} {
		require.True(t, apierrors.IsNotFound(plane.Client.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: bootstrap.KeysSecret}, o)))
	}
}

// A manager that stood still between looking and making must not put its key
// where another's was recorded meanwhile.
func TestAKeyThatCameTooLateIsTakenBack(t *testing.T) {
	now := time.Now()
	other := runnable(t, &now)
	slow := restarted(other)
	slow.Client = interceptor.NewClient(plane.Client, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if _, ok := o.(*corev1.Secret); ok && o.GetName() == bootstrap.KeysSecret {
				require.NoError(t, other.Ensure(ctx))
				require.NoError(t, c.Delete(ctx, secret(t, other, bootstrap.KeysSecret)))
			}
			return c.Create(ctx, o, options...)
		},
	})
	require.ErrorContains(t, slow.Ensure(t.Context()), "Secret tokenserver-keys is gone")
	noKey(t, slow)
}
