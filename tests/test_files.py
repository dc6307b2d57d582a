"""Written aside, then moved into place: as a whole or as it was, whatever goes wrong."""

import os
import time

import pytest

from d2l_gan import files


def test_a_file_and_a_folder_come_whole_in_new_folders(tmp_path):
    file, folder = tmp_path / 'a' / 'b' / 'file', tmp_path / 'c' / 'folder'
    with files.put_in_place(file) as new:
        new.write_text('one')
        assert not file.exists() and new.parent.parent == file.parent, 'on the same disk'
    with files.put_in_place(folder) as new:
        new.mkdir()
        (new / '1').write_text('one')
        assert not folder.exists()
    assert file.read_text() == (folder / '1').read_text() == 'one'
    assert os.listdir(file.parent) == ['file'] and os.listdir(folder.parent) == ['folder']


@pytest.mark.parametrize('kind', ['file', 'folder'])
def test_what_was_there_stays_if_the_block_fails_and_goes_if_it_succeeds(tmp_path, kind):
    path, steps = tmp_path / 'it', []

    def write(place, text):
        if kind == 'folder':
            place.mkdir()
            (place / text).touch()
        else:
            place.write_text(text)

    def held():
        return os.listdir(path) if kind == 'folder' else [path.read_text()]

    write(path, 'old')
    with pytest.raises(ZeroDivisionError), files.put_in_place(path) as new:
        write(new, 'new')
        raise ZeroDivisionError
    assert held() == ['old']
    with files.put_in_place(path, before_move=lambda: steps.append(path.is_dir())) as new:
        write(new, 'new')
    assert held() == ['new'] and os.listdir(tmp_path) == ['it']
    assert steps == [False], 'called between the two moves of a folder'


def test_nothing_written_and_a_current_folder(tmp_path):
    with pytest.raises(FileNotFoundError), files.put_in_place(tmp_path / 'it'):
        pass
    (tmp_path / 'it').mkdir()
    (tmp_path / 'it' / 'theirs').touch()
    with files.put_in_place(tmp_path / 'it', is_current=lambda: True) as new:
        new.mkdir()
        (new / 'ours').touch()
    assert os.listdir(tmp_path / 'it') == ['theirs'], 'the faster one stays'


def test_a_file_never_takes_a_folders_place(tmp_path):
    (tmp_path / 'it').mkdir()
    with pytest.raises(OSError), files.put_in_place(tmp_path / 'it') as new:
        new.write_text('x')
    assert (tmp_path / 'it').is_dir()


@pytest.mark.parametrize(('hours', 'stays'), [(23, True), (25, False)])
def test_abandoned_folders_go_after_a_day(tmp_path, hours, stays):
    left = tmp_path / '.d2l-left'
    (left / 'half').mkdir(parents=True)
    (tmp_path / 'mine').mkdir()
    for path in (left, tmp_path / 'mine'):
        os.utime(path, (time.time() - hours * 3600,) * 2)
    with files.put_in_place(tmp_path / 'file') as new:
        new.touch()
    assert left.exists() == stays and (tmp_path / 'mine').exists()
