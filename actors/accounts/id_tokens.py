"""ID tokens of OpenID Connect: their signatures by PyJWT, and their claims.

https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from actors.edge.failures import Refused
from protocol.errors import BAD_ID_TOKEN, ID_TOKEN_EXPIRED

RSA_BITS: Final = range(2048, 8193)
SUBJECT_CHARACTERS: Final = 255
_REQUIRED: Final = ("iss", "sub", "aud", "exp", "iat", "nonce")


def key_id_of(token: str, algorithms: Sequence[str]) -> tuple[str | None, str]:
    """Return the id of the key that a token says to be signed by, and the algorithm.

    Raises Refused: BAD_ID_TOKEN; it is no token, or the algorithm is not allowed.
    """
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise Refused(BAD_ID_TOKEN, "it is no signed token") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in algorithms:
        raise Refused(BAD_ID_TOKEN, "its algorithm is not allowed")
    return (key_id if isinstance(key_id, str) else None), str(algorithm)


def public_key(jwk: Mapping[str, Any], algorithm: str) -> jwt.PyJWK | None:
    """Return a key of a provider for an algorithm; None: it is not one for that."""
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm or "d" in jwk:
        return None
    try:
        key = jwt.PyJWK(dict(jwk), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size not in RSA_BITS:
        return None
    return key


def verified_subject(
    token: str,
    key: jwt.PyJWK,
    *,
    algorithm: str,
    issuer: str,
    audience: str,
    nonce: str,
    leeway_s: float,
) -> str:
    """Return the subject of an ID token.

    Raises Refused: BAD_ID_TOKEN or ID_TOKEN_EXPIRED.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer,
            audience=audience,
            leeway=leeway_s,
            options={"require": list(_REQUIRED)},
        )
    except jwt.ExpiredSignatureError:
        raise Refused(ID_TOKEN_EXPIRED) from None
    except jwt.ImmatureSignatureError:
        raise Refused(BAD_ID_TOKEN, "it is not valid yet") from None
    except jwt.InvalidAudienceError:
        raise Refused(BAD_ID_TOKEN, "it is for somebody else") from None
    except jwt.InvalidIssuerError:
        raise Refused(BAD_ID_TOKEN, "it is of another issuer") from None
    except jwt.InvalidSignatureError:
        raise Refused(BAD_ID_TOKEN, "its signature is not valid") from None
    except jwt.MissingRequiredClaimError as error:
        raise Refused(BAD_ID_TOKEN, f"it has no {error.claim}") from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        raise Refused(BAD_ID_TOKEN) from None
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else audience) != audience:
        raise Refused(BAD_ID_TOKEN, "it was given to somebody else")
    given = claims["nonce"]
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise Refused(BAD_ID_TOKEN, "its nonce is of another sign-in")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_CHARACTERS:
        raise Refused(BAD_ID_TOKEN, "it has no subject")
    return subject
