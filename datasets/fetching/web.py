"""One attempt at an archive over HTTP: what is missing is asked for, and what comes is checked before it is kept."""

from __future__ import annotations

import email.utils
import re
import time
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from cimbench.datasets.fetching.partial import Origin, Partial, check_disk_space
from cimbench.datasets.fetching.patience import AttemptError, MirrorError, Patience, ended_early, receive

_REDIRECTS = 10
_WORTH_ANOTHER_ATTEMPT = {408, 425, 429, 500, 502, 503, 504}
_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body|script)\b", re.IGNORECASE)


def attempt(address: str, partial: Partial, patience: Patience) -> None:
    """Append what `partial` lacks of the file; AttemptError or MirrorError where that fails.

    Proxies, certificates and passwords are those of the environment, as for every program that uses requests.
    """
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes
    asked = partial.size if partial.may_continue(address) else 0
    if asked:
        partial.running_checksum()  # reads what is there, before a server waits for us
        headers["Range"] = f"bytes={asked}-"
        if partial.origin and partial.origin.address == address and partial.origin.condition:
            headers["If-Range"] = partial.origin.condition  # the rest of the same version, or all of another
        else:
            partial.doubtful = True
    timeouts = (patience.connect_timeout, patience.read_timeout)
    with requests.Session() as session:
        session.max_redirects = _REDIRECTS
        try:
            response = session.get(address, headers=headers, stream=True, timeout=timeouts)
        except requests.exceptions.SSLError as error:
            kind = MirrorError if "CERTIFICATE_VERIFY_FAILED" in str(error) else AttemptError
            raise kind(f"the encrypted connection failed ({_root(error)})") from error
        except requests.exceptions.Timeout as error:
            seconds = timeouts[not isinstance(error, requests.exceptions.ConnectTimeout)]
            raise AttemptError(f"no answer within {seconds:g} s") from error
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            proxy = "the proxy" if isinstance(error, requests.exceptions.ProxyError) else "the server"
            raise AttemptError(f"{proxy} cannot be reached ({_root(error)})") from error
        except (requests.exceptions.RequestException, ValueError) as error:
            raise MirrorError(str(error)) from error
        with response:
            _take(response, address, asked, partial, patience)


def _root(error: BaseException) -> str:
    """What is within the libraries' wrappings, in the system's words where there are any."""
    inner: BaseException | None = error
    while inner is not None:
        error = inner
        wrapped = (getattr(error, "reason", None), *reversed(error.args), error.__cause__)
        inner = next((item for item in wrapped if isinstance(item, BaseException)), None)
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _take(response: requests.Response, address: str, asked: int, partial: Partial, patience: Patience) -> None:
    """Append the body of an answer that can be trusted to be what was asked for."""
    if response.status_code == 416 and asked:
        _beyond_the_end(response, partial)
        return
    if response.status_code not in (200, 206):
        raise _refusal(response, patience)
    _check_encoding(response, partial)
    try:
        if response.status_code == 206:
            rest: int | None = _continue(response, address, asked, partial)
        else:
            rest = _begin(response, address, partial)
        receive(lambda count: bytes(response.raw.read1(count, decode_content=False)), rest, partial, patience)
    except urllib3.exceptions.ReadTimeoutError as error:
        raise AttemptError(f"the connection stalled, nothing came for {patience.read_timeout:g} s") from error
    except urllib3.exceptions.HTTPError as error:
        raise AttemptError(ended_early(partial)) from error
    _check_end(rest, response, partial)


def _check_end(rest: int | None, response: requests.Response, partial: Partial) -> None:
    """Raise AttemptError where all that was promised has come and yet may not be the whole file."""
    if partial.expected is not None:
        if partial.size < partial.expected:
            raise AttemptError(f"the server sends only up to byte {partial.size} of {partial.expected}", wait=0.0)
    elif rest is not None:  # a range of a whole of unknown size
        if not (partial.checksum and partial.running_checksum().matches()):
            raise AttemptError(f"the server sends only up to byte {partial.size}", wait=0.0)
    elif not _is_chunked(response) and not partial.running_checksum().matches():
        raise AttemptError(f"{ended_early(partial)}, which have another checksum")


def _refusal(response: requests.Response, patience: Patience) -> MirrorError | AttemptError:
    """What an answer without a body of use means."""
    reason = f"the server answers {response.status_code} {response.reason}".strip()
    if response.status_code not in _WORTH_ANOTHER_ATTEMPT:
        return MirrorError(reason)
    wait = _retry_after(response.headers.get("Retry-After", ""))
    if wait is not None and wait > patience.longest_wait:
        return MirrorError(f"{reason} and asks to wait {wait:.0f} s; run again then")
    return AttemptError(reason, wait=wait)


def _retry_after(text: str) -> float | None:
    """Seconds from now, of a header that gives seconds or a date; None where it gives neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _check_encoding(response: requests.Response, partial: Partial) -> None:
    """Raise MirrorError where the body is compressed on the way, and so is not the archive's bytes.

    Old servers call a .gz file's own compression an encoding; a declared checksum tells.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    labelled = encoding in ("gzip", "x-gzip") and urlsplit(response.url).path.endswith((".gz", ".tgz"))
    if encoding in ("", "identity") or (labelled and partial.checksum):
        return
    remedy = "; declare dataset.archive.checksum, and it is tried" if labelled else ""
    raise MirrorError(f"the server sends Content-Encoding: {encoding}, although asked not to{remedy}")


def _is_chunked(response: requests.Response) -> bool:
    """Whether the body has an end mark of its own."""
    return "chunked" in response.headers.get("Transfer-Encoding", "").lower()


def _length(response: requests.Response) -> int | None:
    """Bytes of the body, None where the server does not say."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and not _is_chunked(response) else None


def _origin(response: requests.Response, address: str, size: int | None) -> Origin:
    headers = response.headers
    etag, last_modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    return Origin(address=address, etag=etag, last_modified=last_modified, size=size)


def _begin(response: requests.Response, address: str, partial: Partial) -> int | None:
    """Begin again with the first bytes of a whole file; how many follow. Nothing is thrown away for a web page."""
    size = _length(response)
    if size is None and not _is_chunked(response) and not partial.checksum:
        raise MirrorError(
            "the server does not say how large the archive is, and a cut would go unnoticed; "
            "declare dataset.archive.checksum"
        )
    head = bytes(response.raw.read(512, decode_content=False))
    if _PAGE.match(head):
        raise MirrorError(f"the server sends a web page instead of the archive; open {address} in a browser")
    check_disk_space(partial.path.parent, (size or 0) - partial.size)
    partial.start(_origin(response, address, size))
    partial.append(head)
    return None if size is None else size - len(head)


def _continue(response: requests.Response, address: str, asked: int, partial: Partial) -> int:
    """How many bytes follow those that are there; the partial file is begun again where they do not belong to it."""
    text = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes\s+(\d+)-(\d+)/(\d+|\*)", text.strip())
    first, last = (int(match[1]), int(match[2])) if match else (-1, -1)
    size = int(match[3]) if match and match[3] != "*" else partial.expected
    origin = _origin(response, address, size)
    length = _length(response)
    if not asked or first != asked or last < first or (size is not None and last >= size):
        partial.discard()
        raise AttemptError(f"asked for the bytes from {asked} on, the server sends '{text or 'no Content-Range'}'")
    if length is not None and length != last - first + 1:
        partial.discard()
        raise AttemptError(f"the server sends {length} bytes as '{text}'")
    if partial.origin and partial.origin.contradicts(origin):
        partial.discard()
        raise AttemptError("the file on the server has changed since the download began")
    check_disk_space(partial.path.parent, last - first + 1)
    if not (partial.origin and partial.origin.address == address and partial.expected):
        partial.bind(origin)
    return last - first + 1


def _beyond_the_end(response: requests.Response, partial: Partial) -> None:
    """Nothing where the partial file is the whole file; else it is begun again."""
    total = response.headers.get("Content-Range", "").strip().removeprefix("bytes */")
    whole = partial.running_checksum().matches() if partial.checksum else total == str(partial.size)
    if not whole:
        size = partial.size
        partial.discard()
        raise AttemptError(f"the server has no bytes from {size} on")
