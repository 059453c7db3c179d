module @lockstep {
  func.func public @main(%arg0: tensor<3x3x2x4xf32> {tf.aliasing_output = 1 : i32}, %arg1: tensor<64x1xf32>, %arg2: tensor<5x4x4x2xf32>) -> (tensor<f32>, tensor<3x3x2x4xf32>, tensor<64x1xf32>) {
    %0 = stablehlo.constant dense<0x3F800000> : tensor<f32>
    %1 = stablehlo.constant dense<0x40A00000> : tensor<f32>
    %2 = stablehlo.divide %0, %1 : tensor<f32>
    %3 = stablehlo.transpose %arg2, dims = [3, 1, 2, 0] : (tensor<5x4x4x2xf32>) -> tensor<2x4x4x5xf32>
    %4 = stablehlo.convolution(%arg2, %arg0) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], window = {stride = [1, 1], pad = [[1, 1], [1, 1]], lhs_dilate = [1, 1], rhs_dilate = [1, 1]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64, precision_config = [#stablehlo<precision HIGHEST>, #stablehlo<precision HIGHEST>]} : (tensor<5x4x4x2xf32>, tensor<3x3x2x4xf32>) -> tensor<5x4x4x4xf32>
    %5 = stablehlo.constant dense<0x00000000> : tensor<f32>
    %6 = stablehlo.broadcast_in_dim %5, dims = [] : (tensor<f32>) -> tensor<5x4x4x4xf32>
    %7 = stablehlo.maximum %4, %6 : tensor<5x4x4x4xf32>
    %8 = stablehlo.compare GT, %4, %6, FLOAT : (tensor<5x4x4x4xf32>, tensor<5x4x4x4xf32>) -> tensor<5x4x4x4xi1>
    %9 = stablehlo.compare EQ, %4, %6, FLOAT : (tensor<5x4x4x4xf32>, tensor<5x4x4x4xf32>) -> tensor<5x4x4x4xi1>
    %10 = stablehlo.reshape %7 : (tensor<5x4x4x4xf32>) -> tensor<5x64xf32>
    %11 = stablehlo.dot_general %10, %arg1, contracting_dims = [1] x [0], precision = [HIGHEST, HIGHEST] : (tensor<5x64xf32>, tensor<64x1xf32>) -> tensor<5x1xf32>
    %12 = stablehlo.multiply %11, %11 : tensor<5x1xf32>
    %13 = stablehlo.constant dense<0x00000000> : tensor<f32>
    %14 = stablehlo.reduce(%12 init: %13) applies stablehlo.add across dimensions = [0, 1] : (tensor<5x1xf32>, tensor<f32>) -> tensor<f32>
    %15 = stablehlo.constant dense<0x40A00000> : tensor<f32>
    %16 = stablehlo.divide %14, %15 : tensor<f32>
    %17 = stablehlo.broadcast_in_dim %2, dims = [] : (tensor<f32>) -> tensor<5x1xf32>
    %18 = stablehlo.multiply %17, %11 : tensor<5x1xf32>
    %19 = stablehlo.multiply %17, %11 : tensor<5x1xf32>
    %20 = stablehlo.add %18, %19 : tensor<5x1xf32>
    %21 = stablehlo.constant dense<0> : tensor<ui32>
    %22 = stablehlo.slice %11 [0:1:1, 0:1:1] : (tensor<5x1xf32>) -> tensor<1x1xf32>
    %23 = stablehlo.reshape %22 : (tensor<1x1xf32>) -> tensor<f32>
    %24 = stablehlo.bitcast_convert %23 : (tensor<f32>) -> tensor<ui32>
    %25 = stablehlo.xor %21, %24 : tensor<ui32>
    %26 = stablehlo.bitcast_convert %2 : (tensor<f32>) -> tensor<ui32>
    %27 = stablehlo.xor %25, %26 : tensor<ui32>
    %28 = stablehlo.dot_general %20, %arg1, contracting_dims = [1] x [1], precision = [HIGHEST, HIGHEST] : (tensor<5x1xf32>, tensor<64x1xf32>) -> tensor<5x64xf32>
    %29 = stablehlo.dot_general %20, %10, contracting_dims = [0] x [0], precision = [HIGHEST, HIGHEST] : (tensor<5x1xf32>, tensor<5x64xf32>) -> tensor<1x64xf32>
    %30 = "stablehlo.all_reduce"(%16) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
    ^bb0(%left: tensor<f32>, %right: tensor<f32>):
      %sum = stablehlo.add %left, %right : tensor<f32>
      stablehlo.return %sum : tensor<f32>
    }) : (tensor<f32>) -> tensor<f32>
    %58:3 = func.call @cluster_0(%28, %29, %8, %9) {mhlo.frontend_attributes = {inlineable = "false", xla_cpu_small_call = "true"}} : (tensor<5x64xf32>, tensor<1x64xf32>, tensor<5x4x4x4xi1>, tensor<5x4x4x4xi1>) -> (tensor<64x1xf32>, tensor<4x4x5x4xf32>, tensor<ui32>)
    %59 = stablehlo.convolution(%3, %58#1) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], window = {stride = [1, 1], pad = [[1, 1], [1, 1]], lhs_dilate = [1, 1], rhs_dilate = [1, 1]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64, precision_config = [#stablehlo<precision HIGHEST>, #stablehlo<precision HIGHEST>]} : (tensor<2x4x4x5xf32>, tensor<4x4x5x4xf32>) -> tensor<2x3x3x4xf32>
    %60 = stablehlo.transpose %59, dims = [1, 2, 0, 3] : (tensor<2x3x3x4xf32>) -> tensor<3x3x2x4xf32>
    return %30, %60, %58#0 : tensor<f32>, tensor<3x3x2x4xf32>, tensor<64x1xf32>
  }
  func.func private @cluster_0(%in0: tensor<5x64xf32>, %in1: tensor<1x64xf32>, %in2: tensor<5x4x4x4xi1>, %in3: tensor<5x4x4x4xi1>) -> (tensor<64x1xf32>, tensor<4x4x5x4xf32>, tensor<ui32>) {
    %31 = stablehlo.transpose %in1, dims = [1, 0] : (tensor<1x64xf32>) -> tensor<64x1xf32>
    %32 = stablehlo.reshape %in0 : (tensor<5x64xf32>) -> tensor<5x4x4x4xf32>
    %33 = stablehlo.constant dense<0x3F000000> : tensor<f32>
    %34 = stablehlo.broadcast_in_dim %33, dims = [] : (tensor<f32>) -> tensor<5x4x4x4xf32>
    %35 = stablehlo.multiply %32, %34 : tensor<5x4x4x4xf32>
    %36 = stablehlo.constant dense<0x00000000> : tensor<f32>
    %37 = stablehlo.broadcast_in_dim %36, dims = [] : (tensor<f32>) -> tensor<5x4x4x4xf32>
    %38 = stablehlo.select %in3, %35, %37 : tensor<5x4x4x4xi1>, tensor<5x4x4x4xf32>
    %39 = stablehlo.select %in2, %32, %38 : tensor<5x4x4x4xi1>, tensor<5x4x4x4xf32>
    %40 = stablehlo.transpose %39, dims = [1, 2, 0, 3] : (tensor<5x4x4x4xf32>) -> tensor<4x4x5x4xf32>
    %41 = stablehlo.constant dense<0> : tensor<ui32>
    %42 = stablehlo.slice %in0 [0:1:1, 0:1:1] : (tensor<5x64xf32>) -> tensor<1x1xf32>
    %43 = stablehlo.reshape %42 : (tensor<1x1xf32>) -> tensor<f32>
    %44 = stablehlo.bitcast_convert %43 : (tensor<f32>) -> tensor<ui32>
    %45 = stablehlo.xor %41, %44 : tensor<ui32>
    %46 = stablehlo.slice %in1 [0:1:1, 0:1:1] : (tensor<1x64xf32>) -> tensor<1x1xf32>
    %47 = stablehlo.reshape %46 : (tensor<1x1xf32>) -> tensor<f32>
    %48 = stablehlo.bitcast_convert %47 : (tensor<f32>) -> tensor<ui32>
    %49 = stablehlo.xor %45, %48 : tensor<ui32>
    %50 = stablehlo.slice %in2 [0:1:1, 0:1:1, 0:1:1, 0:1:1] : (tensor<5x4x4x4xi1>) -> tensor<1x1x1x1xi1>
    %51 = stablehlo.reshape %50 : (tensor<1x1x1x1xi1>) -> tensor<i1>
    %52 = stablehlo.convert %51 : (tensor<i1>) -> tensor<ui32>
    %53 = stablehlo.xor %49, %52 : tensor<ui32>
    %54 = stablehlo.slice %in3 [0:1:1, 0:1:1, 0:1:1, 0:1:1] : (tensor<5x4x4x4xi1>) -> tensor<1x1x1x1xi1>
    %55 = stablehlo.reshape %54 : (tensor<1x1x1x1xi1>) -> tensor<i1>
    %56 = stablehlo.convert %55 : (tensor<i1>) -> tensor<ui32>
    %57 = stablehlo.xor %53, %56 : tensor<ui32>
    return %31, %40, %57 : tensor<64x1xf32>, tensor<4x4x5x4xf32>, tensor<ui32>
  }
}
