# SPDX-License-Identifier: Apache-2.0
"""What the tests over a real httpd stand on; tests/http/README.md shows how to use it.

Layers, each file using only those above it:

    paths, waiting          where programs lie; waiting for a condition
    ports, processes        free ports; which processes belong to a server
    errorlog, faketime      the guard of the error log; a clock that a test moves
    keys, confs             keys files; configuration text
    wire, h2, load, client  HTTP/1.1 byte by byte; HTTP/2; load by hey and wrk; requests
    serverroot, httpd       the folder of a private httpd; its life
    openapi                 our endpoints' responses against docs/openapi.yaml
    import_store, backend   the target of proxies and batches
    items                   batches of items: their location, target, uploads and results
    npm                     others' programs and libraries, from the npm registry
    redis                   a private Redis
    checks                  assertions that many tests share
    guides, reader          the documents' blocks of code; somebody who follows a guide
    fixtures                all of it for pytest
"""
