// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// The last token of an app is often asked for when its client is gone already.
func TestADoubtAboutAnAppThatIsGoneIsForgotten(t *testing.T) {
	r := &Reconciler{doubted: make(chan event.GenericEvent, 1)}
	gone := types.NamespacedName{Namespace: "a", Name: "gone"}
	r.Doubt(gone)
	require.Len(t, r.doubted, 1)
	_, err := r.settleDeparted(t.Context(), gone, "")
	require.NoError(t, err)
	require.Empty(t, r.registered.doubts)
}
