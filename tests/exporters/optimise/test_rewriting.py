"""A rewritten graph keeps its public names, loses what nothing needs, and a rule sees what it was promised."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from exporters.optimise import cleaning, rewriting
from tests.exporters.optimise import graphs


def test_without_a_rule_the_graph_computes_the_same():
    graph_def = graphs.build(lambda x: tf.concat(tf.split(x, 2, -1)[::-1], -1), (2, 4))
    rewritten = rewriting.rewrite(graph_def, [graphs.OUTPUT], lambda node: None)
    values = graphs.noise(2, 4)
    np.testing.assert_array_equal(graphs.run(rewritten, values), values[:, [2, 3, 0, 1]])


def test_a_replaced_output_keeps_its_name_and_what_it_needed_is_gone():
    graph_def = graphs.build(lambda x: tf.exp(tf.sin(x)), (3,))

    def cosine_for_exp(node):
        return tf.cos(graph_input(node.inputs[0])) if node.op == 'Exp' else None

    def graph_input(tensor):
        return tensor.op.inputs[0]

    rewritten = rewriting.rewrite(graph_def, [graphs.OUTPUT], cosine_for_exp)
    rewritten = rewriting.rewrite(rewritten, [graphs.OUTPUT], cleaning.remove_identities)
    assert graphs.ops(rewritten) == {'Placeholder', 'Cos'}
    values = graphs.noise(3)
    np.testing.assert_allclose(graphs.run(rewritten, values), np.cos(values), rtol=1e-6)


def test_an_output_that_becomes_an_input_is_still_called_by_its_name():
    graph_def = graphs.build(tf.identity, (3,))
    rewritten = rewriting.rewrite(graph_def, [graphs.OUTPUT], cleaning.remove_identities)
    np.testing.assert_array_equal(graphs.run(rewritten, np.array([1, 2, 3], np.float32)), [1, 2, 3])


def test_two_outputs_that_become_one_tensor_are_both_there():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [2], name=graphs.INPUT)
        y = tf.exp(x)
        tf.identity(y, name='first')
        tf.identity(y, name='second')
    rewritten = rewriting.rewrite(graph.as_graph_def(), ['first', 'second'], cleaning.remove_identities)
    for name in ('first', 'second'):
        np.testing.assert_allclose(graphs.run(rewritten, np.zeros(2, np.float32), name), [1, 1])


def test_a_rule_sees_consumers_constants_and_shapes():
    seen = {}

    def look(node):
        seen[node.proto.name] = node
        return None

    def function(x):
        y = tf.exp(x, name='used_twice')
        return tf.add(y * tf.constant([1.0, 2.0], name='two'), y, name='sum')

    rewriting.rewrite(graphs.build(function, (3, 2)), [graphs.OUTPUT], look)
    assert seen['used_twice'].num_consumers == 2 and list(seen['sum'].consumers_of) == [1, 2]
    assert seen['sum'].inputs[0].shape == (3, 2)
    np.testing.assert_array_equal(rewriting.constant(seen['mul'].inputs[1]), [1, 2])
    assert rewriting.constant(seen['sum'].inputs[0]) is None


def test_control_inputs_go_and_with_them_what_only_they_need():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [2], name=graphs.INPUT)
        with tf.control_dependencies([tf.sin(x)]):
            tf.exp(x, name=graphs.OUTPUT)
    assert graphs.ops(graph.as_graph_def()) == {'Placeholder', 'Sin', 'Exp'}
    cleaned = cleaning.without_control_inputs(graph.as_graph_def(), [graphs.OUTPUT])
    assert graphs.ops(cleaned) == {'Placeholder', 'Exp'}


@pytest.mark.parametrize('shape, is_known', [((4, 3), True), ((None, 3), False)])
def test_ensure_shape_goes_where_the_shape_is_known(shape, is_known):
    graph_def = graphs.build(lambda x: tf.ensure_shape(x, [4, 3]) * 2, shape)
    rewritten = rewriting.rewrite(graph_def, [graphs.OUTPUT], cleaning.remove_identities)
    assert ('EnsureShape' in graphs.ops(rewritten)) == (not is_known)


def test_constants_are_computed_and_static_shapes_are_constants():
    def function(x):
        size = tf.shape(x)[1] * 2
        return tf.reshape(tf.tile(x, [1, 2]), tf.stack([-1, size])) * (tf.constant([2.0]) + 1)

    graph_def = graphs.build(function, (2, 3))
    folded = cleaning.fold_constants(graph_def, [graphs.OUTPUT])
    assert graphs.ops(folded) == {'Placeholder', 'Const', 'Tile', 'Reshape', 'Mul', 'Identity'}
    values = graphs.noise(2, 3)
    np.testing.assert_allclose(graphs.run(folded, values), np.tile(values, [1, 2]) * 3)


def test_a_free_shape_is_left_to_the_run():
    graph_def = graphs.build(lambda x: x * tf.cast(tf.shape(x)[0], tf.float32), (None,))
    folded = cleaning.fold_constants(graph_def, [graphs.OUTPUT])
    np.testing.assert_array_equal(graphs.run(folded, np.ones(5, np.float32)), np.full(5, 5))


def test_a_large_constant_is_computed_at_run_time():
    graph_def = graphs.build(lambda x: x + tf.zeros([2, 1 << 20]), (1,))
    folded = cleaning.fold_constants(graph_def, [graphs.OUTPUT])
    assert folded.ByteSize() < 10_000
