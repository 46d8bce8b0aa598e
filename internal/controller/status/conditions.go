// SPDX-License-Identifier: Apache-2.0

package status

import (
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Object is an object of ours with a status.
type Object interface {
	client.Object
	GetStatus() any
	GetConditions() *[]metav1.Condition
	GetObservedGeneration() *int64
}

// maxMessage keeps conditions readable and far below the API server's limit.
const maxMessage = 1024

// Set sets one condition at the object's generation. Its transition time moves
// only when its status does.
func Set(o Object, conditionType string, value metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(o.GetConditions(), metav1.Condition{
		Type: conditionType, Status: value, Reason: reason, Message: shorten(message), ObservedGeneration: o.GetGeneration(),
	})
}

// True sets one condition to True.
func True(o Object, conditionType, reason, message string) {
	Set(o, conditionType, metav1.ConditionTrue, reason, message)
}

// False sets one condition to False.
func False(o Object, conditionType, reason, message string) {
	Set(o, conditionType, metav1.ConditionFalse, reason, message)
}

// Unknown sets one condition to Unknown.
func Unknown(o Object, conditionType, reason, message string) {
	Set(o, conditionType, metav1.ConditionUnknown, reason, message)
}

// Remove removes one condition.
func Remove(o Object, conditionType string) {
	meta.RemoveStatusCondition(o.GetConditions(), conditionType)
}

// Get returns one condition, or nil.
func Get(o Object, conditionType string) *metav1.Condition {
	return meta.FindStatusCondition(*o.GetConditions(), conditionType)
}

// IsTrue tells whether a condition is True.
func IsTrue(o Object, conditionType string) bool {
	return meta.IsStatusConditionTrue(*o.GetConditions(), conditionType)
}

// IsReady tells whether Ready is True for the object's present generation.
func IsReady(o Object) bool {
	ready := Get(o, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue &&
		ready.ObservedGeneration == o.GetGeneration() && *o.GetObservedGeneration() == o.GetGeneration()
}

// MarkProgressing is the first status of a new generation, to be written before
// anything else is done for it: Ready is not True for a generation that nobody
// has worked on. It reports false when the generation is not new, and for an object
// that is new itself: what that says already is true.
func MarkProgressing(o Object) bool {
	ready := Get(o, v1alpha1.ConditionReady)
	isSuspended := ready == nil && *o.GetObservedGeneration() == o.GetGeneration()
	isNew := ready == nil && *o.GetObservedGeneration() < 0 // the default
	if isNew || isSuspended || ready != nil && ready.ObservedGeneration == o.GetGeneration() {
		return false
	}
	Unknown(o, v1alpha1.ConditionReady, v1alpha1.ReasonProgressing, "working on a change")
	True(o, v1alpha1.ConditionReconciling, v1alpha1.ReasonProgressing, "working on a change")
	Remove(o, v1alpha1.ConditionStalled)
	return true
}

// Summarise sets Ready, Reconciling and Stalled after a reconciliation that
// ended in err, and the observed generation: it moves when the generation was
// handled, which waiting and being stalled are too, a transient error is not.
// ready is the message when err is nil. An error that is no *Error counts as
// transient with ReasonWriteFailed.
func Summarise(o Object, err error, ready string) {
	if err == nil {
		*o.GetObservedGeneration() = o.GetGeneration()
		True(o, v1alpha1.ConditionReady, v1alpha1.ReasonReady, ready)
		Remove(o, v1alpha1.ConditionReconciling)
		Remove(o, v1alpha1.ConditionStalled)
		return
	}
	e := As(err, v1alpha1.ReasonWriteFailed, "writing to the API server failed, trying again")
	False(o, v1alpha1.ConditionReady, e.Reason, e.Message)
	if e.Kind == Stalled {
		*o.GetObservedGeneration() = o.GetGeneration()
		True(o, v1alpha1.ConditionStalled, e.Reason, e.Message)
		Remove(o, v1alpha1.ConditionReconciling)
		return
	}
	if e.Kind == Waiting {
		*o.GetObservedGeneration() = o.GetGeneration()
	}
	True(o, v1alpha1.ConditionReconciling, e.Reason, e.Message)
	Remove(o, v1alpha1.ConditionStalled)
}

// Suspend is the status of an object that the manager leaves alone. It is Ready
// when it is as it should be all the same, of which ready says more. With an empty
// ready nobody can tell: Ready is absent, because tools that wait for objects
// would wait for one that is not Ready as long as it is suspended.
func Suspend(o Object, ready string) {
	*o.GetObservedGeneration() = o.GetGeneration()
	if ready != "" {
		True(o, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, ready)
	} else {
		Remove(o, v1alpha1.ConditionReady)
	}
	Remove(o, v1alpha1.ConditionReconciling)
	Remove(o, v1alpha1.ConditionStalled)
}

// shorten cuts a message at maxMessage bytes and puts it on one line.
func shorten(message string) string {
	message = strings.Join(strings.Fields(strings.ToValidUTF8(message, "?")), " ")
	if len(message) <= maxMessage {
		return message
	}
	cut := maxMessage - len("…")
	for !utf8.RuneStart(message[cut]) {
		cut--
	}
	return message[:cut] + "…"
}
