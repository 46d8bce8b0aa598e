// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"connectedapps.dev/operator/hack/release/program"
)

// TestWhatWasPushedIsPulledWhole sends to a registry that lists referrers itself, and to one that has
// them under a tag instead, as the specification of 1.0 knows it.
func TestWhatWasPushedIsPulledWhole(t *testing.T) {
	t.Parallel()
	dist, _ := makeImages(t, repository(t))
	layout := filepath.Join(dist, "images")
	for kind, address := range map[string]string{
		"CNCF Distribution":               registry(t),
		"a registry that lists referrers": lister(t),
	} {
		t.Run(kind, func(t *testing.T) {
			told, err := releaseCommand(t, "push", "-images="+layout, "-registry="+address+"/apps", "-tag=v0.2.0")
			require.NoError(t, err)
			again, err := releaseCommand(t, "push", "-images="+layout, "-registry="+address+"/apps", "-tag=v0.2.0")
			require.NoError(t, err)
			require.Equal(t, told, again)
			images, err := readLayout(layout)
			require.NoError(t, err)
			for i, line := range strings.Split(strings.TrimSpace(told), "\n") {
				want, err := images[i].index.Digest()
				require.NoError(t, err)
				require.Equal(t, address+"/apps/"+images[i].name+":v0.2.0@"+want.String(), line)
				pulled(t, address+"/apps/"+images[i].name, want)
			}
		})
	}
}

// pulled gets an image by its tag, as a cluster does, and its SBOMs.
func pulled(t *testing.T, repository string, want v1.Hash) {
	t.Helper()
	tag, err := name.NewTag(repository + ":v0.2.0")
	require.NoError(t, err)
	index, err := remote.Index(tag)
	require.NoError(t, err)
	digest, err := index.Digest()
	require.NoError(t, err)
	require.Equal(t, want, digest)
	require.NoError(t, validate.Index(index, validate.Fast))
	for _, one := range platformsOf(t, named{index: index}) {
		require.Contains(t, contents(t, one), program.Authorities)
		digest, err := one.Digest()
		require.NoError(t, err)
		config, err := one.ConfigFile()
		require.NoError(t, err)
		require.Equal(t, "v0.2.0", config.Config.Labels["org.opencontainers.image.version"])
		referrers, err := remote.Referrers(tag.Digest(digest.String()))
		require.NoError(t, err)
		list, err := referrers.IndexManifest()
		require.NoError(t, err)
		require.Len(t, list.Manifests, 1, "and pushing it again adds none")
		sbom, err := remote.Image(tag.Digest(list.Manifests[0].Digest.String()))
		require.NoError(t, err)
		require.Equal(t, mediaTypeSBOM, manifestOf(t, sbom).ArtifactType)
		require.Contains(t, string(blobOf(t, sbom)), `"spdxVersion": "SPDX-2.3"`)
	}
}

// lister is go-containerregistry's own, in this process.
func lister(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(memory.New(memory.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// TestAProblemOfPushingSaysWhatToDo cannot run beside others: it sets where
// credentials are.
func TestAProblemOfPushingSaysWhatToDo(t *testing.T) {
	dist, _ := makeImages(t, repository(t))
	layout := filepath.Join(dist, "images")
	push := func(registry string) (string, error) {
		return releaseCommand(t, "push", "-images="+layout, "-registry="+registry, "-tag=v0.2.0")
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())

	t.Run("credentials", func(t *testing.T) {
		hash, err := bcrypt.GenerateFromPassword([]byte("hush"), bcrypt.MinCost)
		require.NoError(t, err)
		passwords := filepath.Join(t.TempDir(), "htpasswd")
		require.NoError(t, os.WriteFile(passwords, []byte("pat:"+string(hash)+"\n"), 0o600))
		address := registry(t, "-htpasswd="+passwords)
		_, err = push(address + "/apps")
		require.ErrorContains(t, err, address+" does not let you")
		require.ErrorContains(t, err, "docker login "+address)

		login := `{"auths": {"` + address + `": {"username": "pat", "password": "hush"}}}`
		require.NoError(t, os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(login), 0o600))
		_, err = push(address + "/apps")
		require.NoError(t, err)
		tag, err := name.NewTag(address + "/apps/manager:v0.2.0")
		require.NoError(t, err)
		_, err = remote.Index(tag, remote.WithAuthFromKeychain(authn.DefaultKeychain))
		require.NoError(t, err)
	})
	t.Run("nobody listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := listener.Addr().String()
		require.NoError(t, listener.Close())
		_, err = push(address + "/apps")
		require.ErrorContains(t, err, address+" cannot be reached")
	})
	for problem, row := range map[string]struct{ registry, tag, want string }{
		"no registry":        {"", "v1", "REGISTRY=registry.example.com/connectedapps says it"},
		"a scheme":           {"https://registry.example.com/apps", "v1", "without a scheme, as in names of images: registry.example.com/apps"},
		"no host":            {"connectedapps", "v1", "it is a registry and a path in it"},
		"letters of a shout": {"registry.example.com/APPS", "v1", "REGISTRY=registry.example.com/APPS"},
		"no tag":             {"registry.example.com/apps", "", `TAG="" is no tag of an image`},
		"a branch as tag":    {"registry.example.com/apps", "feature/x", `TAG="feature/x" is no tag of an image`},
	} {
		t.Run(problem+", before there are images", func(t *testing.T) {
			_, err := releaseCommand(t, "push", "-check", "-images="+t.TempDir(), "-registry="+row.registry, "-tag="+row.tag)
			require.ErrorContains(t, err, row.want)
		})
	}
	t.Run("no images yet", func(t *testing.T) {
		_, err := releaseCommand(t, "push", "-images="+t.TempDir(), "-registry=registry.example.com/apps", "-tag=v1")
		require.ErrorContains(t, err, "has no images: make images builds them")
	})
}

// TestAVersionKeepsItsImages once somebody may have installed it.
func TestAVersionKeepsItsImages(t *testing.T) {
	t.Parallel()
	root := repository(t)
	dist, _ := makeImages(t, root)
	address := registry(t)
	push := func(tag string, more ...string) (string, error) {
		return releaseCommand(t, append([]string{"push", "-images=" + filepath.Join(dist, "images"), "-registry=" + address + "/apps", "-tag=" + tag}, more...)...)
	}
	tags := []string{"v0.2.0", "0.2.0-rc.1", "v0.2.0-dirty", "v0.2.0-3-g5a2e0c1", "main"}
	digests := func() map[string]string {
		seen := map[string]string{}
		for _, tag := range tags {
			for _, image := range program.Images {
				reference, err := name.NewTag(address + "/apps/" + image.Name + ":" + tag)
				require.NoError(t, err)
				there, err := remote.Head(reference)
				require.NoError(t, err)
				seen[image.Name+":"+tag] = there.Digest.String()
			}
		}
		return seen
	}
	for _, tag := range tags {
		_, err := push(tag)
		require.NoError(t, err)
	}
	before := digests()

	// One program is another now.
	require.NoError(t, os.WriteFile(filepath.Join(root, "cmd/"+program.Images[2].Name+"/main.go"), []byte("package main\n\nfunc main() {}\n"), 0o644))
	makeImages(t, root)
	changed := program.Images[2].Name
	for _, tag := range []string{"v0.2.0", "0.2.0-rc.1"} {
		_, err := push(tag)
		require.ErrorContains(t, err, "/apps/"+changed+":"+tag+" is "+before[changed+":"+tag]+", and this one is sha256:")
		require.ErrorContains(t, err, "FORCE=1 moves the tags")
		require.NotContains(t, err.Error(), program.Images[0].Name+":", "it has the same")
	}
	require.Equal(t, before, digests(), "nothing was sent")

	for _, tag := range tags[2:] {
		_, err := push(tag)
		require.NoError(t, err, "no version")
	}
	_, err := push("v0.2.0", "-force")
	require.NoError(t, err)
	after := digests()
	require.NotEqual(t, before[changed+":v0.2.0"], after[changed+":v0.2.0"])
	require.Equal(t, before[changed+":0.2.0-rc.1"], after[changed+":0.2.0-rc.1"])
	_, err = push("v0.2.0")
	require.NoError(t, err, "the same images again")
}

func TestNothingGoesInTheClearButOnLoopback(t *testing.T) {
	t.Parallel()
	asked := 0
	transport := encrypted{roundTripper(func(*http.Request) (*http.Response, error) {
		asked++
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})}
	for url, want := range map[string]string{
		"http://10.0.0.5:5000/v2/": "10.0.0.5:5000 would have to be asked over plain http", "http://registry.example.com/v2/": "only a registry on loopback may be",
		"http://127.0.0.1:5000/v2/": "", "http://[::1]:5000/v2/": "", "http://localhost:5000/v2/": "", "https://10.0.0.5/v2/": "",
	} {
		before := asked
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		response, err := transport.RoundTrip(request)
		if want != "" {
			require.ErrorContains(t, err, want)
			require.Equal(t, before, asked)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
