import numpy as np
import pytest

from train.input_pipeline.batch_ring import ALIGNMENT, BatchRing


def test_a_batch_comes_back_once_nobody_holds_it_or_a_view_of_it():
    ring = BatchRing(2, 4, 3)
    first = ring.take()
    images, labels = ring.lend(first)
    assert ring.take() != first  # the other one
    views = [images[1:], images.reshape(-1), labels[::2]]
    del images, labels
    while views:
        with pytest.raises(IndexError):
            ring.take()
        views.pop()
    assert ring.take() == first


def test_a_tensor_of_a_batch_holds_it():
    import tensorflow as tf

    ring = BatchRing(2, 64, 16)
    row = ring.take()
    images, labels = ring.lend(row)
    tensor = tf.experimental.dlpack.from_dlpack(images.reshape(-1, 4, 4).__dlpack__())
    del images, labels
    ring.take()
    with pytest.raises(IndexError):
        ring.take()
    ring.images[row] = 7
    assert int(tensor[0, 0, 0]) == 7  # no copy in between
    del tensor
    assert ring.take() == row


def test_the_last_row_is_never_lent_but_copied():
    ring = BatchRing(1, 2, 2)
    row = ring.take()
    ring.images[row], ring.labels[row] = 1, 5
    images, labels = ring.lend(row)
    again = ring.take()
    assert again == row
    ring.images[again], ring.labels[again] = 2, 6
    assert (images == 1).all()
    assert (labels == 5).all()


@pytest.mark.parametrize(("size", "width"), [(3, 5), (128, 3072), (7, 64), (1, 1)])
def test_pictures_and_labels_of_every_row_begin_aligned(size, width):
    ring = BatchRing(3, size, width)
    for _ in range(3):
        row = ring.take()
        for part in (ring.images[row], ring.labels[row]):
            assert part.__array_interface__["data"][0] % ALIGNMENT == 0
    assert ring.labels.dtype == np.int64
