"""Downloads and archives, against a real server on this machine, real processes, real kills."""

import errno
import hashlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pooch
import pytest

import d2l_gan  # noqa: F401

module = sys.modules['d2l_gan.download']  # the package's own `download` is the function
ROOT = Path(__file__).parents[1]
BODY = bytes(range(256)) * 1200
SHA1 = hashlib.sha1(BODY).hexdigest()
FILES = {'a/1.txt': b'one', 'a/2.txt': b'two', 'b/3.txt': b'three'}
KINDS = ['.zip', '.tar', '.tar.gz', '.tgz']


class Server(ThreadingHTTPServer):
    """Answers /x with `routes['/x']`: bytes, or a function of the handler and the count of hits."""

    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.routes, self.hits = {}, Counter()
        self.url = f'http://127.0.0.1:{self.server_port}'

    def handle_error(self, request, client_address):
        """A client that was killed, or a server that hangs up on purpose, is no news."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.hits[self.path] += 1
        answer = self.server.routes.get(self.path)
        if answer is None:
            self.send_error(404)
        elif isinstance(answer, bytes):
            self.send(answer)
        else:
            answer(self, self.server.hits[self.path])

    def send(self, body, length=None):
        self.send_response(200)
        self.send_header('Content-Length', str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A data folder of the test's own, and little patience."""
    monkeypatch.setenv('D2L_GAN_DATA', str(tmp_path / 'data'))
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setattr(module, 'TIMEOUT', (2, 0.3))
    monkeypatch.setattr(pooch.core, 'time', SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(module, 'DATA_HUB', dict(module.DATA_HUB))
    return tmp_path / 'data'


def pack(kind, members):
    """The bytes of an archive with these members: {name: content}."""
    buffer = io.BytesIO()
    if kind == '.zip':
        with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                file.writestr(name, content)
    else:
        with tarfile.open(fileobj=buffer, mode='w' if kind == '.tar' else 'w:gz') as file:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tree(folder):
    """{relative name: content} of all files under a folder."""
    paths = (path for path in Path(folder).rglob('*') if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def listing(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def start(code, *args):
    """Another Python process, as another notebook's kernel would be."""
    code = 'import sys, d2l_gan\nmodule = sys.modules["d2l_gan.download"]\n' + code
    pipe = subprocess.PIPE
    command = [sys.executable, '-c', code, *map(str, args)]
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.001)


# Downloading


def test_download_keeps_the_file_and_asks_once(server, folder, capfd, monkeypatch):
    monkeypatch.delenv('TQDM_DISABLE', raising=False)
    server.routes['/good.bin'] = BODY
    module.DATA_HUB['good'] = (server.url + '/good.bin', SHA1)
    name = module.download('good')
    assert isinstance(name, str) and name == str(folder / 'good.bin')
    assert Path(name).read_bytes() == BODY
    out, err = capfd.readouterr()
    assert out == '' and err.count('\n') == 1, 'a progress bar and nothing else'
    assert all(line.startswith('good.bin:') for line in err.split('\r') if line)
    assert 'good.bin: 100%' in err and '307k/307k' in err
    assert module.download('good') == name and module.download(server.url + '/good.bin') == name
    assert module.download('good', folder / 'other') == str(folder / 'other' / 'good.bin')
    assert server.hits['/good.bin'] == 2
    assert capfd.readouterr().err.count('100%') == 1, 'no bar for a file that is there'
    assert listing(folder) == ['good.bin', 'other'] and listing(folder / 'other') == ['good.bin']


@pytest.mark.slow
def test_a_fresh_process_shows_a_bar_and_no_log(server, folder):
    seen = []

    def answer(handler, _):
        seen.append(handler.headers['Accept-Encoding'])
        handler.send(BODY)

    server.routes['/good.bin'] = answer
    code = 'print(module.download(sys.argv[1]))'
    out, err = start(code, server.url + '/good.bin').communicate(timeout=60)
    assert out == f'{folder / "good.bin"}\n'
    assert all(line.startswith('good.bin:') for line in re.split('[\r\n]', err) if line), err
    assert seen == ['identity'], "compressed on the way, the length would not be the file's"


@pytest.mark.skipif(sys.platform == 'win32', reason='modes are a Unix thing')
def test_a_shared_folder_can_be_read_by_all(server, folder):
    server.routes['/pets.zip'] = pack('.zip', FILES)
    module.DATA_HUB['pets'] = (server.url + '/pets.zip', None)
    before = os.umask(0o022)
    try:
        module.download_extract('pets')
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob('*')}
    assert modes['pets.zip'] == modes['1.txt'] == 0o644 and modes['pets'] == modes['a'] == 0o755


@pytest.mark.parametrize('sha1', [SHA1, SHA1.upper(), None])
def test_download_takes_addresses_and_hashes_as_people_write_them(server, folder, sha1):
    server.routes['/good%20one.bin?v=2'] = BODY
    for _ in range(2):
        name = module.download(server.url + '/good%20one.bin?v=2#x', sha1_hash=sha1)
        assert name == str(folder / 'good one.bin') and Path(name).read_bytes() == BODY
    assert server.hits.total() == 1


def test_download_refuses_a_file_with_the_wrong_hash(server, folder):
    server.routes['/bad.bin'] = b'something else'
    got = hashlib.sha1(b'something else').hexdigest()
    with pytest.raises(module.DownloadError, match=f'sha1:{SHA1} but got {got}'):
        module.download(server.url + '/bad.bin', sha1_hash=SHA1)
    assert listing(folder) == [] and server.hits['/bad.bin'] == 3


def test_a_hash_that_is_given_goes_before_the_known_one(server):
    server.routes['/good.bin'] = BODY
    module.DATA_HUB['good'] = (server.url + '/good.bin', '0' * 40)
    assert Path(module.download('good', sha1_hash=SHA1)).read_bytes() == BODY


def test_download_replaces_a_cached_file_with_the_wrong_hash(server, folder):
    server.routes['/good.bin'] = BODY
    folder.mkdir()
    (folder / 'good.bin').write_bytes(BODY[:-1])
    module.download(server.url + '/good.bin', sha1_hash=SHA1)
    assert (folder / 'good.bin').read_bytes() == BODY and listing(folder) == ['good.bin']


@pytest.mark.parametrize('sha1', [SHA1, None])
def test_download_never_keeps_a_body_that_was_cut_short(server, folder, sha1):
    server.routes['/cut.bin'] = lambda handler, _: handler.send(BODY[:-7], len(BODY))
    with pytest.raises(module.DownloadError, match='cut.bin could not be fetched'):
        module.download(server.url + '/cut.bin', sha1_hash=sha1)
    assert listing(folder) == [] and server.hits['/cut.bin'] == 3


def test_download_takes_a_404_as_final_and_names_it(server, folder):
    with pytest.raises(module.DownloadError, match='/no.bin .* fetched: HTTP status 404') as info:
        module.download(server.url + '/no.bin')
    assert listing(folder) == [] and server.hits['/no.bin'] == 1
    for way_out in (str(folder / 'no.bin'), 'D2L_GAN_DATA', 'd2l.sprites()'):
        assert way_out in str(info.value)


@pytest.mark.parametrize('status', [408, 429, 500, 503])
def test_download_tries_again_after_what_may_pass(server, status):
    def answer(handler, hits):
        handler.send_error(status) if hits < 3 else handler.send(BODY)

    server.routes['/tired.bin'] = answer
    assert Path(module.download(server.url + '/tired.bin', sha1_hash=SHA1)).read_bytes() == BODY
    assert server.hits['/tired.bin'] == 3


def test_download_gives_up_after_three_tries(server, folder):
    server.routes['/down.bin'] = lambda handler, _: handler.send_error(500)
    with pytest.raises(module.DownloadError, match='HTTP status 500'):
        module.download(server.url + '/down.bin')
    assert server.hits['/down.bin'] == 3 and listing(folder) == []


def test_download_leaves_a_server_that_stalls(server, folder):
    done = threading.Event()

    def stall(handler, _):
        handler.send(BODY[:1000], len(BODY))
        done.wait(10)

    server.routes['/stall.bin'] = stall
    begin = time.monotonic()
    with pytest.raises(module.DownloadError, match='timed out'):
        module.download(server.url + '/stall.bin', sha1_hash=SHA1)
    done.set()
    assert 0.9 < time.monotonic() - begin < 3
    assert server.hits['/stall.bin'] == 3 and listing(folder) == []


def test_download_recovers_from_a_reset_and_a_cut(server):
    def answer(handler, hits):
        if hits == 1:
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif hits == 2:
            handler.send(BODY[:5000], len(BODY))
        else:
            handler.send(BODY)

    server.routes['/reset.bin'] = answer
    assert Path(module.download(server.url + '/reset.bin')).read_bytes() == BODY


def test_download_without_a_network_uses_what_is_there(folder):
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{closed.getsockname()[1]}/good.bin'
    with pytest.raises(module.DownloadError) as info:
        module.download(url, sha1_hash=SHA1)
    for way_out in (str(folder / 'good.bin'), 'D2L_GAN_DATA', 'd2l.sprites()'):
        assert way_out in str(info.value)
    (folder / 'good.bin').write_bytes(b'copied badly')
    with pytest.raises(module.DownloadError, match='found there: SHA-1 [0-9a-f]{40}'):
        module.download(url, sha1_hash=SHA1)
    assert module.download(url) == str(folder / 'good.bin')
    (folder / 'good.bin').write_bytes(BODY)
    assert module.download(url, sha1_hash=SHA1) == str(folder / 'good.bin')


def test_download_names_what_it_knows_when_asked_for_something_else(folder):
    with pytest.raises(ValueError, match="'pokeman' is neither .* knows pokemon"):
        module.download('pokeman')
    for url in ('http://127.0.0.1:1/', 'http://127.0.0.1:1/%2e%2e', 'http://127.0.0.1:1/..%2F..'):
        with pytest.raises(ValueError, match='does not end in the name of a file'):
            module.download(url)
    assert not folder.exists()


@pytest.mark.slow
def test_download_survives_a_kill_in_the_middle(server, folder):
    half_way, go_on = threading.Event(), threading.Event()

    def dribble(handler, hits):
        handler.send(BODY[:200_000], len(BODY))
        if hits == 1:
            half_way.set()
            go_on.wait(30)
        handler.wfile.write(BODY[200_000:])

    server.routes['/good.bin'] = dribble
    process = start('module.download(sys.argv[1])', server.url + '/good.bin')
    wait_for(half_way.is_set)
    wait_for(lambda: any(path.stat().st_size for path in folder.glob('tmp*')))
    process.kill()
    process.communicate()
    go_on.set()
    (left,) = listing(folder)
    assert left.startswith('tmp'), "the killed process leaves pooch's temporary file only"
    name = module.download(server.url + '/good.bin')  # no hash: only the name can be trusted
    assert Path(name).read_bytes() == BODY
    assert listing(folder) == ['good.bin', left]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='limits of a process are a Unix thing')
def test_a_full_disk_is_named_and_nothing_is_left(server, folder):
    server.routes['/large.bin'] = BODY
    server.routes['/large.zip'] = pack('.zip', {'zeros': bytes(1_000_000)})
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for get, name in (module.download, '/large.bin'), (module.download_extract, '/large.zip'):
    module.DATA_HUB['it'] = (sys.argv[1] + name, None)
    try:
        get('it')
    except module.DownloadError as error:
        print(error)
"""
    out, err = start(code, server.url).communicate(timeout=30)
    lines = out.splitlines()
    assert len(lines) == 2, err
    for name, line in zip(['large.bin', 'large.zip'], lines, strict=True):
        assert line.startswith(f'{name} cannot be kept in {folder}: no room on the disk')
        assert re.search(r'[0-9.]+ MB are free', line)
    assert listing(folder) == ['large.zip']


@pytest.mark.parametrize(
    'error', [PermissionError('pooch raises it without a number'), OSError(errno.EROFS, 'closed')]
)
def test_a_closed_folder_is_named(server, monkeypatch, error):
    server.routes['/good.bin'] = BODY

    def closed(*args):
        raise error

    monkeypatch.setattr(pooch.core, 'make_local_storage', closed)
    with pytest.raises(module.DownloadError, match='good.bin .* no permission .* D2L_GAN_DATA'):
        module.download(server.url + '/good.bin')


@pytest.mark.skipif(
    not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may write anywhere'
)
def test_a_folder_that_is_read_only_is_named(server, folder):
    server.routes['/good.bin'] = BODY
    folder.mkdir(mode=0o500)
    with pytest.raises(module.DownloadError, match='no permission .* D2L_GAN_DATA'):
        module.download(server.url + '/good.bin')


def test_the_data_folder_is_the_cache_folder_or_what_the_variable_says(monkeypatch, tmp_path):
    assert module.data_folder() == tmp_path / 'data'
    monkeypatch.setenv('D2L_GAN_DATA', '~/course')
    assert module.data_folder() == Path.home() / 'course'
    monkeypatch.delenv('D2L_GAN_DATA')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    assert module.data_folder().name == 'd2l_gan' or sys.platform == 'win32'
    if sys.platform == 'linux':
        assert module.data_folder() == tmp_path / 'cache' / 'd2l_gan'


def test_the_books_bucket_is_asked_over_https_and_others_as_written(folder):
    assert module.DATA_URL == 'http://d2l-data.s3-accelerate.amazonaws.com/'
    secure = 'https://d2l-data.s3-accelerate.amazonaws.com/pokemon.zip'
    sha1 = 'c065c0e2593b8b161a2d7873e42418bf6a21106c'
    assert module._locate('pokemon') == (secure, sha1, folder / 'pokemon.zip')
    assert module._locate(module.DATA_URL + 'pokemon.zip')[0] == secure
    assert module._locate(secure)[0] == secure
    assert module._locate('http://127.0.0.1/x.zip')[0] == 'http://127.0.0.1/x.zip'


# Unpacking


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('top', ['', 'pets/'])
def test_each_kind_unpacks_to_the_folder_of_its_name(server, folder, kind, top):
    server.routes['/pets' + kind] = pack(kind, {top + name: x for name, x in FILES.items()})
    module.DATA_HUB['animals'] = (server.url + '/pets' + kind, None)
    name = module.download_extract('animals')
    assert isinstance(name, str) and name == str(folder / 'pets')
    assert tree(name) == FILES
    assert listing(folder) == ['.pets.sha1', 'pets', 'pets' + kind]


@pytest.mark.parametrize(
    ('members', 'wanted', 'expected'),
    [
        (['x/1', 'x/2'], 'x', ['1', '2']),  # a folder that the archive holds
        (['x/y/1', 'x/2', '3'], 'x/y', ['1']),
        (['1', '2'], 'x', ['1', '2']),  # one that it does not: the name of a new one
        (['z/1'], 'x/y', ['z/1']),
        (['x/1'], None, ['x/1']),  # one folder of another name
        (['pets/1', 'dogs/2'], None, ['dogs/2', 'pets/1']),  # by chance the archive's name
        (['pets/1', '__MACOSX/pets/._1'], None, ['1']),
    ],
)
def test_the_folder_is_the_one_meant(server, folder, members, wanted, expected):
    server.routes['/pets.zip'] = pack('.zip', dict.fromkeys(members, b''))
    module.DATA_HUB['pets'] = (server.url + '/pets.zip', None)
    name = module.download_extract('pets', wanted)
    assert name == os.path.join(folder, wanted or 'pets')
    assert sorted(tree(name)) == expected


def test_a_second_call_does_no_work_and_a_new_archive_is_unpacked_anew(server, folder, monkeypatch):
    for number in (1, 2):
        body = pack('.tar.gz', {f'pets/{number}': b'x'})
        server.routes[f'/{number}/pets.tar.gz'] = body
        sha1 = hashlib.sha1(body).hexdigest()
        module.DATA_HUB['pets'] = (f'{server.url}/{number}/pets.tar.gz', sha1)
        name = module.download_extract('pets')
        assert listing(Path(name)) == [str(number)], 'nothing of the old one is left'
        (Path(name) / 'mine').write_text('a sign that nobody has been here')
        with monkeypatch.context() as patch:
            patch.setattr(module, '_unpack', None)
            patch.setattr(module, 'put_in_place', None)
            assert module.download_extract('pets') == name
        assert (Path(name) / 'mine').exists()
        assert server.hits[f'/{number}/pets.tar.gz'] == 1
    assert listing(folder) == ['.pets.sha1', 'pets', 'pets.tar.gz']


def test_a_folder_of_somebody_else_is_left_alone(server, folder):
    server.routes['/pets.zip'] = pack('.zip', FILES)
    module.DATA_HUB['pets'] = (server.url + '/pets.zip', None)
    (folder / 'pets').mkdir(parents=True)
    (folder / 'pets' / 'thesis.txt').write_text('mine')
    with pytest.raises(module.DownloadError, match='move it away'):
        module.download_extract('pets')
    assert tree(folder / 'pets') == {'thesis.txt': b'mine'}


@pytest.mark.slow
def test_unpacking_survives_a_kill_in_the_middle(server, folder):
    files = {f'pets/{number:04}.txt': b'x' for number in range(6000)}
    server.routes['/pets.zip'] = pack('.zip', files)
    module.DATA_HUB['pets'] = (server.url + '/pets.zip', None)
    code = "module.DATA_HUB['pets'] = (sys.argv[1], None)\nmodule.download_extract('pets')"
    process = start(code, server.url + '/pets.zip')
    wait_for(lambda: any(folder.glob('.d2l-*/content/pets/0100.txt')))
    process.kill()
    process.communicate()
    (half,) = folder.glob('.d2l-*/content/pets')
    assert 100 < len(listing(half)) < 6000 and not (folder / 'pets').exists()
    assert len(listing(Path(module.download_extract('pets')))) == 6000
    assert server.hits['/pets.zip'] == 1
    (left,) = folder.glob('.d2l-*')  # a young temporary folder may be in use
    old = time.time() - sys.modules['d2l_gan.files'].ABANDONED - 1
    os.utime(left, (old, old))
    shutil.rmtree(folder / 'pets')
    module.download_extract('pets')
    assert not left.exists(), 'an old one is cleared away'


@pytest.mark.slow
def test_two_processes_at_once_both_get_everything(server, folder):
    files = {f'pets/{number:04}.txt': b'x' * number for number in range(500)}
    body = pack('.zip', files)
    together = threading.Barrier(2)

    def answer(handler, _):
        together.wait(30)  # nobody is served before both have asked
        handler.send(body)

    server.routes['/pets.zip'] = answer
    code = "module.DATA_HUB['pets'] = tuple(sys.argv[1:])\nprint(module.download_extract('pets'))"
    sha1 = hashlib.sha1(body).hexdigest()
    processes = [start(code, server.url + '/pets.zip', sha1) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out.strip()) == (0, str(folder / 'pets')), err
    assert server.hits['/pets.zip'] == 2
    assert (folder / 'pets.zip').read_bytes() == body
    assert len(tree(folder / 'pets')) == 500
    assert listing(folder) == ['.pets.sha1', 'pets', 'pets.zip']


@pytest.mark.parametrize('outdated', [False, True])
def test_the_folder_of_a_faster_process_is_kept(server, folder, monkeypatch, outdated):
    server.routes['/pets.zip'] = pack('.zip', FILES)
    module.DATA_HUB['pets'] = (server.url + '/pets.zip', None)
    if outdated:
        module.download_extract('pets')
        (folder / 'pets.zip').write_bytes(pack('.zip', {'new': b''}))
    unpack = module._unpack

    def overtaken(*args):
        unpack(*args)
        monkeypatch.setattr(module, '_unpack', unpack)
        (Path(module.download_extract('pets')) / 'in use').write_text('by the faster one')

    monkeypatch.setattr(module, '_unpack', overtaken)
    name = module.download_extract('pets')
    assert sorted(tree(name)) == sorted([*({'new': b''} if outdated else FILES), 'in use'])
    assert listing(folder) == ['.pets.sha1', 'pets', 'pets.zip']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    'name', ['../evil.txt', 'a/../../evil.txt', '/{}/evil.txt', '..\\evil.txt']
)
def test_members_outside_the_folder_are_refused(server, folder, tmp_path, kind, name):
    name = name.format(tmp_path.as_posix().strip('/'))
    server.routes['/pets' + kind] = pack(kind, {**FILES, name: b'evil'})
    module.DATA_HUB['pets'] = (server.url + '/pets' + kind, None)
    with pytest.raises(module.DownloadError, match='member points outside its folder: .*evil.txt'):
        module.download_extract('pets')
    assert listing(folder) == ['pets' + kind] and not list(tmp_path.rglob('*evil*'))


@pytest.mark.parametrize('kind', [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize('target', ['../../../secret.txt', '/etc/passwd'])
def test_links_to_the_outside_are_refused(server, folder, kind, target):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as file:
        info = tarfile.TarInfo('pets/link')
        info.type, info.linkname = kind, target
        file.addfile(info)
    server.routes['/pets.tar'] = buffer.getvalue()
    module.DATA_HUB['pets'] = (server.url + '/pets.tar', None)
    with pytest.raises(module.DownloadError, match='member points outside its folder'):
        module.download_extract('pets')
    assert listing(folder) == ['pets.tar']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    'damage', [lambda x: b'<html>Log in</html>', lambda x: x[: len(x) * 2 // 3]]
)
def test_what_is_no_archive_is_named_and_not_unpacked(server, folder, kind, damage):
    noise = {f'pets/{number}': os.urandom(3000) for number in range(20)}
    server.routes['/pets' + kind] = damage(pack(kind, noise))
    module.DATA_HUB['pets'] = (server.url + '/pets' + kind, None)
    with pytest.raises(module.DownloadError, match=f'pets{kind} cannot be unpacked .*.zip, .tar, '):
        module.download_extract('pets')
    assert listing(folder) == ['pets' + kind]


def test_a_name_that_is_no_archives_is_refused_before_the_download(server, folder):
    module.DATA_HUB['text'] = (server.url + '/text.txt', None)
    with pytest.raises(
        ValueError, match=r'text.txt is no archive .*\.zip, \.tar, \.tar\.gz, \.tgz'
    ):
        module.download_extract('text')
    for wanted in ('../up', '/tmp', '', '.', 'C:\\x'):
        with pytest.raises(ValueError, match='folder must be a relative path'):
            module.download_extract('pokemon', wanted)
    assert not server.hits and not folder.exists()
