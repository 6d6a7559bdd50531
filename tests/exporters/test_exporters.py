"""Each form, reloaded, says what the live model says, under the documented names."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from core.errors import UserError
from core.servable import Servable, inference_variables
from exporters import checkpoint, formats, frozen_graph, manifest, saved_model
from tests import fake_model

COLORS = [(10, 20, 30), (40, 50, 60), (70, 80, 90)]
OUTPUTS = ['predictions', 'colours']


@pytest.fixture(scope='module')
def model():
    return fake_model.FakeModel()


@pytest.fixture(scope='module')
def concrete(model):
    return Servable(model=model, num_classes=3, pad_to_shape=(20, 30), colors=COLORS).trace()


@pytest.fixture(scope='module')
def graph_path(concrete, tmp_path_factory):
    path = str(tmp_path_factory.mktemp('graph') / frozen_graph.FILENAME)
    frozen_graph.write(concrete, path)
    return path


def _check(run, model):
    for shape in [(1, 12, 15), (2, 33, 65)]:
        batch = fake_model.images(*shape)
        outputs = run(batch)
        ids = fake_model.class_ids(model, batch)
        np.testing.assert_array_equal(outputs['predictions'][..., 0], ids)
        np.testing.assert_array_equal(outputs['colours'], np.array(COLORS)[ids])
        assert outputs['predictions'].dtype == np.uint8


def test_frozen_graph_gives_the_same_ids(model, graph_path):
    _check(frozen_graph.load(graph_path, inputs='inputs', outputs=OUTPUTS), model)


def test_frozen_graph_runs_in_a_v1_session_by_tensor_name(model, graph_path):
    graph_def = tf.compat.v1.GraphDef()
    with open(graph_path, 'rb') as f:
        graph_def.ParseFromString(f.read())
    assert not [node.op for node in graph_def.node if 'Variable' in node.op or 'Resource' in node.op]
    batch = fake_model.images(1, 12, 15)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.compat.v1.import_graph_def(graph_def, name='')
        assert graph.get_tensor_by_name('inputs:0').dtype == tf.uint8
        ids = session.run('predictions:0', {'inputs:0': batch})
    np.testing.assert_array_equal(ids[..., 0], fake_model.class_ids(model, batch))


def test_frozen_graph_is_the_same_bytes_each_time(concrete, graph_path, tmp_path):
    frozen_graph.write(concrete, str(tmp_path / 'again.pb'))
    with open(graph_path, 'rb') as f:
        assert (tmp_path / 'again.pb').read_bytes() == f.read()


def test_a_graph_for_one_image_without_batch_is_read(tmp_path):
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.uint8, [4, 5, 3], name='inputs')
        tf.identity(tf.cast(images[tf.newaxis, ..., :1], tf.int64), name='predictions')
    (tmp_path / 'one.pb').write_bytes(graph.as_graph_def().SerializeToString())
    batch = fake_model.images(1, 4, 5)
    outputs = frozen_graph.load(str(tmp_path / 'one.pb'), inputs='inputs', outputs=['predictions'])(batch)
    np.testing.assert_array_equal(outputs['predictions'], batch[..., :1])


def test_saved_model_gives_the_same_ids(model, concrete, tmp_path):
    saved_model.write(concrete, str(tmp_path / 'saved_model'))
    _check(saved_model.load(str(tmp_path / 'saved_model')), model)
    loaded = tf.saved_model.load(str(tmp_path / 'saved_model'))
    assert [v.shape for v in loaded.weights] == [[3, 3, 3, 3]]


def test_checkpoint_holds_what_inference_reads(model, concrete, tmp_path):
    variables = inference_variables(concrete, model.variables_by_name())
    checkpoint.write(variables, str(tmp_path / 'model.ckpt'), step=7)
    reader = tf.train.load_checkpoint(str(tmp_path / 'model.ckpt'))
    assert sorted(reader.get_variable_to_shape_map()) == ['global_step', 'head/weights']
    np.testing.assert_array_equal(reader.get_tensor('head/weights'), model.kernel)
    assert reader.get_tensor('global_step') == 7


def test_what_is_no_saved_model_is_named(tmp_path):
    (tmp_path / 'saved_model.pb').write_text('hello, this is no graph')
    with pytest.raises(UserError, match=f'^{tmp_path}: not a SavedModel with one input') as caught:
        saved_model.load(str(tmp_path))
    assert '\n' not in str(caught.value)
    other = tf.Module()
    other.add = tf.function(tf.add, input_signature=[tf.TensorSpec([]), tf.TensorSpec([])])
    tf.saved_model.save(other, str(tmp_path / 'other'), signatures={'add': other.add})
    with pytest.raises(UserError, match='the signature serving_default'):
        saved_model.load(str(tmp_path / 'other'))


def test_a_fixed_saved_model_says_its_shape(model, tmp_path):
    saved_model.write(Servable(model=model, num_classes=3).trace((1, 12, 15)), str(tmp_path / 'fixed'))
    with pytest.raises(ValueError, match=r'its input is \(1, 12, 15, 3\)'):
        saved_model.load(str(tmp_path / 'fixed'))(fake_model.images(1, 13, 15))


def test_wrong_graph_files_are_named(graph_path, tmp_path):
    with pytest.raises(UserError, match=r'missing\.pb: no such file'):
        frozen_graph.load(str(tmp_path / 'missing.pb'), inputs='inputs', outputs=OUTPUTS)
    (tmp_path / 'text.pb').write_text('hello, this is no graph')
    with pytest.raises(UserError, match=r'text\.pb: not a frozen graph'):
        frozen_graph.load(str(tmp_path / 'text.pb'), inputs='inputs', outputs=OUTPUTS)
    with pytest.raises(UserError, match='no node called probabilities; is it an inference graph'):
        frozen_graph.load(graph_path, inputs='inputs', outputs=['predictions', 'probabilities'])


def test_a_saved_model_takes_encoded_images(model, concrete, tmp_path):
    saved_model.write(concrete, str(tmp_path / 'saved_model'), manifest='{"a": 1}')
    assert saved_model.manifest(str(tmp_path / 'saved_model')) == '{"a": 1}'
    batch = fake_model.images(2, 12, 15)
    files = tf.stack([tf.io.encode_png(image) for image in batch])
    serve = tf.saved_model.load(str(tmp_path / 'saved_model')).signatures[saved_model.ENCODED_SIGNATURE]
    answers = serve(inputs=files)
    np.testing.assert_array_equal(answers['predictions'][..., 0], fake_model.class_ids(model, batch))
    jpeg = tf.io.encode_jpeg(batch[0])
    ids = fake_model.class_ids(model, tf.io.decode_jpeg(jpeg).numpy()[np.newaxis])
    np.testing.assert_array_equal(serve(inputs=[jpeg])['predictions'][..., 0], ids)


def test_a_manifest_in_a_frozen_graph_leaves_it_as_it_was(model, graph_path, tmp_path):
    with open(graph_path, 'rb') as f:
        (tmp_path / 'graph.pb').write_bytes(f.read())
    path = str(tmp_path / 'graph.pb')
    assert manifest.read_from_graph(path) is None
    manifest.append_to_graph(path, '{"name": "Straße"}')
    assert manifest.read_from_graph(path) == '{"name": "Straße"}'
    _check(frozen_graph.load(path, inputs='inputs', outputs=OUTPUTS), model)


@pytest.mark.parametrize('name', ['model.onnx', 'model.xml', 'model.tflite', 'model.stablehlo', 'model.pb'])
def test_files_that_are_no_graph_are_one_line(tmp_path, name):
    (tmp_path / name).write_text('hello, this is no graph')
    with pytest.raises(UserError, match=f'{name}: not a') as caught:
        formats.of(formats.of_file(name)).load(str(tmp_path / name), ['predictions'])
    assert '\n' not in str(caught.value)
