from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResizeType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BILINEAR: _ClassVar[ResizeType]
    NEAREST_NEIGHBOR: _ClassVar[ResizeType]
    BICUBIC: _ClassVar[ResizeType]
BILINEAR: ResizeType
NEAREST_NEIGHBOR: ResizeType
BICUBIC: ResizeType

class PreprocessingStep(_message.Message):
    __slots__ = ("set_fixed_image_size", "aspect_ratio_image_resize", "random_image_scale", "random_image_crop", "random_horizontal_flip", "random_brightness", "random_contrast", "random_saturation", "random_hue", "random_gamma", "random_rotation", "random_vertical_flip", "resize_image")
    SET_FIXED_IMAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    ASPECT_RATIO_IMAGE_RESIZE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_IMAGE_SCALE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_IMAGE_CROP_FIELD_NUMBER: _ClassVar[int]
    RANDOM_HORIZONTAL_FLIP_FIELD_NUMBER: _ClassVar[int]
    RANDOM_BRIGHTNESS_FIELD_NUMBER: _ClassVar[int]
    RANDOM_CONTRAST_FIELD_NUMBER: _ClassVar[int]
    RANDOM_SATURATION_FIELD_NUMBER: _ClassVar[int]
    RANDOM_HUE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_GAMMA_FIELD_NUMBER: _ClassVar[int]
    RANDOM_ROTATION_FIELD_NUMBER: _ClassVar[int]
    RANDOM_VERTICAL_FLIP_FIELD_NUMBER: _ClassVar[int]
    RESIZE_IMAGE_FIELD_NUMBER: _ClassVar[int]
    set_fixed_image_size: SetFixedImageSize
    aspect_ratio_image_resize: AspectRatioImageResize
    random_image_scale: RandomImageScale
    random_image_crop: RandomCropImage
    random_horizontal_flip: RandomHorizontalFlip
    random_brightness: RandomBrightness
    random_contrast: RandomContrast
    random_saturation: RandomSaturation
    random_hue: RandomHue
    random_gamma: RandomGamma
    random_rotation: RandomRotation
    random_vertical_flip: RandomVerticalFlip
    resize_image: ResizeImage
    def __init__(self, set_fixed_image_size: _Optional[_Union[SetFixedImageSize, _Mapping]] = ..., aspect_ratio_image_resize: _Optional[_Union[AspectRatioImageResize, _Mapping]] = ..., random_image_scale: _Optional[_Union[RandomImageScale, _Mapping]] = ..., random_image_crop: _Optional[_Union[RandomCropImage, _Mapping]] = ..., random_horizontal_flip: _Optional[_Union[RandomHorizontalFlip, _Mapping]] = ..., random_brightness: _Optional[_Union[RandomBrightness, _Mapping]] = ..., random_contrast: _Optional[_Union[RandomContrast, _Mapping]] = ..., random_saturation: _Optional[_Union[RandomSaturation, _Mapping]] = ..., random_hue: _Optional[_Union[RandomHue, _Mapping]] = ..., random_gamma: _Optional[_Union[RandomGamma, _Mapping]] = ..., random_rotation: _Optional[_Union[RandomRotation, _Mapping]] = ..., random_vertical_flip: _Optional[_Union[RandomVerticalFlip, _Mapping]] = ..., resize_image: _Optional[_Union[ResizeImage, _Mapping]] = ...) -> None: ...

class SetFixedImageSize(_message.Message):
    __slots__ = ("fixed_height", "fixed_width", "images_channel_dim", "labels_channel_dim")
    FIXED_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FIXED_WIDTH_FIELD_NUMBER: _ClassVar[int]
    IMAGES_CHANNEL_DIM_FIELD_NUMBER: _ClassVar[int]
    LABELS_CHANNEL_DIM_FIELD_NUMBER: _ClassVar[int]
    fixed_height: int
    fixed_width: int
    images_channel_dim: int
    labels_channel_dim: int
    def __init__(self, fixed_height: _Optional[int] = ..., fixed_width: _Optional[int] = ..., images_channel_dim: _Optional[int] = ..., labels_channel_dim: _Optional[int] = ...) -> None: ...

class AspectRatioImageResize(_message.Message):
    __slots__ = ("min_dimension", "max_dimension", "resize_method", "pad_to_max_dimension")
    MIN_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    MAX_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    RESIZE_METHOD_FIELD_NUMBER: _ClassVar[int]
    PAD_TO_MAX_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    min_dimension: int
    max_dimension: int
    resize_method: ResizeType
    pad_to_max_dimension: bool
    def __init__(self, min_dimension: _Optional[int] = ..., max_dimension: _Optional[int] = ..., resize_method: _Optional[_Union[ResizeType, str]] = ..., pad_to_max_dimension: _Optional[bool] = ...) -> None: ...

class RandomImageScale(_message.Message):
    __slots__ = ("min_scale_ratio", "max_scale_ratio")
    MIN_SCALE_RATIO_FIELD_NUMBER: _ClassVar[int]
    MAX_SCALE_RATIO_FIELD_NUMBER: _ClassVar[int]
    min_scale_ratio: float
    max_scale_ratio: float
    def __init__(self, min_scale_ratio: _Optional[float] = ..., max_scale_ratio: _Optional[float] = ...) -> None: ...

class RandomCropImage(_message.Message):
    __slots__ = ("crop_height", "crop_width", "images_channel_dim", "labels_channel_dim", "int_seed", "max_class_share")
    CROP_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CROP_WIDTH_FIELD_NUMBER: _ClassVar[int]
    IMAGES_CHANNEL_DIM_FIELD_NUMBER: _ClassVar[int]
    LABELS_CHANNEL_DIM_FIELD_NUMBER: _ClassVar[int]
    INT_SEED_FIELD_NUMBER: _ClassVar[int]
    MAX_CLASS_SHARE_FIELD_NUMBER: _ClassVar[int]
    crop_height: int
    crop_width: int
    images_channel_dim: int
    labels_channel_dim: int
    int_seed: int
    max_class_share: float
    def __init__(self, crop_height: _Optional[int] = ..., crop_width: _Optional[int] = ..., images_channel_dim: _Optional[int] = ..., labels_channel_dim: _Optional[int] = ..., int_seed: _Optional[int] = ..., max_class_share: _Optional[float] = ...) -> None: ...

class RandomHorizontalFlip(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RandomVerticalFlip(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RandomBrightness(_message.Message):
    __slots__ = ("max_delta",)
    MAX_DELTA_FIELD_NUMBER: _ClassVar[int]
    max_delta: float
    def __init__(self, max_delta: _Optional[float] = ...) -> None: ...

class RandomContrast(_message.Message):
    __slots__ = ("min_factor", "max_factor")
    MIN_FACTOR_FIELD_NUMBER: _ClassVar[int]
    MAX_FACTOR_FIELD_NUMBER: _ClassVar[int]
    min_factor: float
    max_factor: float
    def __init__(self, min_factor: _Optional[float] = ..., max_factor: _Optional[float] = ...) -> None: ...

class RandomSaturation(_message.Message):
    __slots__ = ("min_factor", "max_factor")
    MIN_FACTOR_FIELD_NUMBER: _ClassVar[int]
    MAX_FACTOR_FIELD_NUMBER: _ClassVar[int]
    min_factor: float
    max_factor: float
    def __init__(self, min_factor: _Optional[float] = ..., max_factor: _Optional[float] = ...) -> None: ...

class RandomHue(_message.Message):
    __slots__ = ("max_delta",)
    MAX_DELTA_FIELD_NUMBER: _ClassVar[int]
    max_delta: float
    def __init__(self, max_delta: _Optional[float] = ...) -> None: ...

class RandomGamma(_message.Message):
    __slots__ = ("min_gamma", "max_gamma")
    MIN_GAMMA_FIELD_NUMBER: _ClassVar[int]
    MAX_GAMMA_FIELD_NUMBER: _ClassVar[int]
    min_gamma: float
    max_gamma: float
    def __init__(self, min_gamma: _Optional[float] = ..., max_gamma: _Optional[float] = ...) -> None: ...

class RandomRotation(_message.Message):
    __slots__ = ("max_angle",)
    MAX_ANGLE_FIELD_NUMBER: _ClassVar[int]
    max_angle: float
    def __init__(self, max_angle: _Optional[float] = ...) -> None: ...

class ResizeImage(_message.Message):
    __slots__ = ("height", "width", "method")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    method: ResizeType
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., method: _Optional[_Union[ResizeType, str]] = ...) -> None: ...
