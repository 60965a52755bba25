"""What is wrong with a certificate file that OpenSSL does not take, since its own words name no cause. Pure."""

from __future__ import annotations

CERTIFICATE = "CERTIFICATE"
PRIVATE_KEY = "PRIVATE KEY"
_JAVA = b"\xfe\xed\xfe\xed"
_SEQUENCE = b"\x30"
"""What anything in DER begins with."""
_VERSION_3 = b"\x02\x01\x03"
"""What follows in a PKCS#12 keystore, behind the length."""


def why_unusable(data: bytes, *parts: str) -> str | None:
    """Why a file holds none of the `parts` that were sought in it, as a sentence. None if that cannot be told."""
    if data.startswith(_JAVA):
        return (
            "it is a Java keystore, and wanted is PEM: keytool -importkeystore -deststoretype PKCS12 and then"
            " openssl pkcs12 -nodes write that"
        )
    if data.startswith(_SEQUENCE) and b"-----BEGIN" not in data:
        if _VERSION_3 in data[:8]:
            return "it is a PKCS#12 keystore, and wanted is PEM: openssl pkcs12 -nodes writes that"
        return "it is in DER, and wanted is PEM: openssl x509 -inform der, or openssl pkey -inform der, writes that"
    for part in parts:
        if f"{part}-----".encode() not in data:
            return f"there is no {part.lower()} in it, in PEM"
    if PRIVATE_KEY in parts and b"ENCRYPTED" in data:
        return "the private key in it has a passphrase, for which there is no setting: openssl pkey writes it without"
    return None
