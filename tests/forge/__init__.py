"""An independent maker of manifests, good and bad, for the tests. It imports nothing of the product.

cbor      deterministic encoding, verbatim items, malformed heads
jumbf     box trees
cose      COSE_Sign1 with all seven algorithms
pki       keys, roots, leaves and every bad certificate; CRLs and OCSP responses
tsa       an RFC 3161 authority
measure   flat and tree digests, indexes, in plain Python
manifest  manifests and stores: built, taken apart, changed, sealed again
chain     whole artifacts with their lineage, on disk
oracle    c2pa-rs as an independent judge
"""
