// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// background are the methods that no request calls: what they do when the storage
// fails is tested where they are called.
var background = []string{
	"AllApps", "ConfiguredApps", "Epochs", "EndedTokens", "EndedToken", "SigningKeys", "CollectGarbage", "TouchSecrets", "Observe", "DataKeys",
	"CreateDataKeys", "UpdateSigningKeys", "RewrapKeys", "InstallationID", "Ping", "Close", "Changes", "LatestChanges", "Writers", "Pools", "RaiseEpoch", "RestoreEpoch", "Size", "Measure",
	"Clock",
}

func allDoors() []door {
	return slices.Concat(tokenDoors, bearerDoors, shutDoors, managementDoors, pageDoors)
}

// checkAnswer: the right answer or "try again later", and nothing else.
func checkAnswer(t *testing.T, right int, got answer) {
	t.Helper()
	if got.StatusCode == right {
		return
	}
	assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode, "neither right nor 503: %s", got.body)
	assert.Equal(t, "2", got.Header.Get("Retry-After"))
	assert.NotContains(t, got.body, "disk", "what is wrong inside is nobody's business")
}

func TestWhateverTheStorageDoesNotAnswerIsRightOr503(t *testing.T) {
	b := newBuilding(t)
	reached := map[string]bool{}
	for _, door := range allDoors() {
		t.Run(door.name, func(t *testing.T) {
			b.t = t
			do := door.make(b)
			b.tick()
			b.faults.Calls()
			got := do()
			require.Equal(t, door.right, got.StatusCode, got.body)
			methods := slices.Sorted(maps.Keys(b.faults.Calls()))
			for _, method := range methods {
				reached[method] = true
				for fault, name := range map[tokenservertest.Fault]string{tokenservertest.Refused: " fails", tokenservertest.Hanging: " hangs"} {
					t.Run(method+name, func(t *testing.T) { b.underFault(t, door, fault, method) })
				}
			}
		})
	}
	for method := range reflect.TypeFor[storage.Storage]().Methods() {
		assert.Truef(t, reached[method.Name] || slices.Contains(background, method.Name), "no request of this test calls %s", method.Name)
	}
}

// underFault makes the attempt while a method fails and again, as it is, once the
// storage is well.
func (b *building) underFault(t *testing.T, door door, fault tokenservertest.Fault, method string) {
	b.t = t
	do := door.make(b)
	b.tick()
	b.faults.Break(fault, method)
	got := do()
	b.faults.Mend()
	checkAnswer(t, door.right, got)
	b.settle()
	if got.StatusCode != door.right {
		again := do()
		assert.Equal(t, door.right, again.StatusCode, "the same request, once the storage is well: %s", again.body)
	}
}

// lostForGood are the writes whose lost answer costs the caller something: what
// was done stays done.
var lostForGood = map[string]string{
	"RedeemCode":    "the code counts as used, and the person is sent through the authorization again",
	"CreateApp":     "repeated with its external_id, the answer is 200 with the same app and one more secret",
	"DeleteApp":     "repeated, it is 404: the app is gone",
	"DeleteSession": "the form belongs to a session that has ended, and is shown again",
	"RotateFamily":  "refresh_grace_seconds of 0 asks for just that; everybody else gets the same token again",
}

func TestALostAnswerOfTheStorageUsesNothingUp(t *testing.T) {
	b := newBuilding(t)
	for _, door := range allDoors() {
		t.Run(door.name, func(t *testing.T) {
			b.t = t
			do := door.make(b)
			b.tick()
			b.faults.Calls()
			do()
			for method := range b.faults.Calls() {
				rotates := method == "RotateFamily" && !strings.Contains(door.name, "without grace")
				if lostForGood[method] == "" || rotates {
					t.Run(method, func(t *testing.T) { b.underFault(t, door, tokenservertest.Lost, method) })
				}
			}
		})
	}
}
