"""Which rule each operation of aten follows. One without a rule makes its result UNKNOWN, never wrong."""

from __future__ import annotations

from collections.abc import Callable

from auditor.ops.reach import moves, sums, windows
from auditor.ops.reach.op import Op, Result

Rule = Callable[[Op], Result]

NAMES: dict[Rule, str] = {
    moves.pointwise: """hardswish log_sigmoid_forward rrelu_with_noise _prelu_kernel _to_copy clone alias detach lift_fresh expand
        contiguous native_dropout channel_shuffle native_channel_shuffle""",
    moves.fresh: """zeros_like ones_like full_like empty_like rand_like randn_like randint_like new_zeros new_ones new_empty
        new_full new_empty_strided fill zero""",
    moves.view: "view _unsafe_view reshape _reshape_alias unsqueeze squeeze view_copy",
    moves.strided: "as_strided",
    moves.permute: "permute transpose t",
    moves.copied: "copy",
    moves.select: "select",
    moves.slices: "slice",
    moves.indexed: "index index_select",
    moves.reordered: "flip roll",
    moves.repeat: "repeat",
    moves.parts: "split split_with_sizes chunk unbind unsafe_split unsafe_chunk",
    moves.concatenated: "cat stack",
    windows.convolution: "convolution convolution_overrideable",
    windows.pooled: """max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d
        avg_pool3d""",
    windows.adaptive: "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d",
    windows.upsampled: """upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d
        _upsample_bilinear2d_aa _upsample_bicubic2d_aa""",
    windows.padded: """constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
        replication_pad3d""",
    windows.shuffled: "pixel_shuffle pixel_unshuffle",
    sums.product: "mm addmm bmm baddbmm",
    sums.reduced: """mean sum nansum prod amax amin aminmax max min norm linalg_vector_norm var std var_mean std_mean logsumexp
        median any all argmax argmin""",
    sums.softmax: "_softmax _log_softmax _safe_softmax cumsum",
    sums.batch_norm: """native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_no_update
        _batch_norm_with_update cudnn_batch_norm miopen_batch_norm""",
    sums.group_norm: "native_group_norm",
    sums.layer_norm: "native_layer_norm _fused_rms_norm",
    sums.glu: "glu",
}

RULES: dict[str, Rule] = {name: rule for rule, names in NAMES.items() for name in names.split()}
