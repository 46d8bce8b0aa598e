// SPDX-License-Identifier: Apache-2.0

// Package apply writes Secrets and ConfigMaps that belong to an object of ours. It
// never touches one that does not: the first write only creates, later ones carry
// the UID of what is there, and ours is what has a controller reference with the
// owner's UID. It knows nothing of what is in them.
package apply

// Field managers of our controllers.
const (
	ManagerConnectedApp = "connectedapps-connectedapp"
	ManagerAccessToken  = "connectedapps-accesstoken"
	ManagerTokenServer  = "connectedapps-tokenserver"
	ManagerBootstrap    = "connectedapps-bootstrap"
)
