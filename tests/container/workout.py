"""Runs inside the image: what a training script may expect of TensorFlow and the toolkit, whatever was removed."""

import io
import os
import tempfile
import time
from pathlib import Path

started = time.monotonic()
import boto3  # noqa: E402
import gethostname  # noqa: E402 - the toolkit's C extension
import h5py  # noqa: E402, F401
import keras  # noqa: E402
import numpy as np  # noqa: E402
import numpy.testing  # noqa: E402
import sagemaker_training.encoders  # noqa: E402
import sagemaker_training.trainer  # noqa: E402
import scipy.sparse  # noqa: E402
import scipy.stats  # noqa: E402
import tensorflow as tf  # noqa: E402

print(f"imports {time.monotonic() - started:.1f} s, uid {os.getuid()}")
assert gethostname.__file__.endswith(".so")
folder = Path(tempfile.mkdtemp())
images = np.random.default_rng(0).integers(0, 256, (96, 32, 32, 3), np.uint8)
labels = np.arange(96) % 10

# tf.data through a file of records
with tf.io.TFRecordWriter(str(folder / "a.tfrecord")) as writer:
    for image in images:
        writer.write(image.tobytes())
decode = tf.io.decode_raw
pictures = tf.data.TFRecordDataset(str(folder / "a.tfrecord")).map(
    lambda r: tf.reshape(decode(r, tf.uint8), (32, 32, 3))
)
data = tf.data.Dataset.zip((pictures, tf.data.Dataset.from_tensor_slices(labels))).shuffle(96).batch(32).prefetch(1)

# training, compiled by XLA too
layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(8, 3), keras.layers.BatchNormalization()]
layers += [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
model = keras.Sequential([keras.Input((32, 32, 3), dtype="uint8"), *layers])
for compiled in (False, True):
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=compiled)
    history = model.fit(data, epochs=1, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()

# what is saved answers as the model does
expected = model.predict(images[:4], verbose=0)
model.export(folder / "saved", verbose=False)
loaded = tf.saved_model.load(str(folder / "saved"))
numpy.testing.assert_allclose(loaded.serve(images[:4]), expected, rtol=1e-4, atol=1e-5)
model.save(folder / "model.keras")
again = keras.models.load_model(folder / "model.keras")
numpy.testing.assert_allclose(again.predict(images[:4], verbose=0), expected, rtol=1e-4, atol=1e-5)

# pictures, event files, TensorFlow Lite, the profiler's library
assert tf.io.decode_jpeg(tf.io.encode_jpeg(images[0])).shape == (32, 32, 3)
with tf.summary.create_file_writer(str(folder / "events")).as_default():
    tf.summary.scalar("loss", 1.0, step=1)
    tf.summary.image("pictures", images[:4], step=1)
    tf.summary.histogram("pixels", images, step=1)
assert next((folder / "events").iterdir()).stat().st_size > 0
model.fit(data, verbose=0, callbacks=[keras.callbacks.TensorBoard(folder / "board", histogram_freq=1)])
assert next((folder / "board/train").iterdir()).stat().st_size > 0
assert tf.lite.TFLiteConverter.from_keras_model(model).convert()
tf.profiler.experimental.start(str(folder / "profile"))
tf.profiler.experimental.stop()

# the toolkit's own encoders, and any AWS service
matrix = scipy.sparse.csr_matrix(np.eye(3, dtype=np.float32))
assert sagemaker_training.encoders.array_to_npy(matrix.toarray())
assert np.load(io.BytesIO(sagemaker_training.encoders.array_to_npy(np.eye(2)))).shape == (2, 2)
for service in ("s3", "sagemaker", "cloudwatch", "dynamodb"):
    boto3.client(service, region_name="eu-west-1")
print("workout done")
