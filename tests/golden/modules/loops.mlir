module @lockstep {
  func.func public @main(%arg0: tensor<3xf32>, %arg1: tensor<4x3xf32>, %arg2: tensor<i32>) -> (tensor<3xf32>, tensor<4xf32>) {
    %42:3 = func.call @cluster_0(%arg0, %arg1, %arg2) {mhlo.frontend_attributes = {inlineable = "false", xla_cpu_small_call = "true"}} : (tensor<3xf32>, tensor<4x3xf32>, tensor<i32>) -> (tensor<3xf32>, tensor<4xf32>, tensor<ui32>)
    return %42#0, %42#1 : tensor<3xf32>, tensor<4xf32>
  }
  func.func private @cluster_0(%in0: tensor<3xf32>, %in1: tensor<4x3xf32>, %in2: tensor<i32>) -> (tensor<3xf32>, tensor<4xf32>, tensor<ui32>) {
    %0 = stablehlo.constant dense<0> : tensor<i32>
    %3:2 = stablehlo.while(%iter1 = %in0, %iter2 = %0) : tensor<3xf32>, tensor<i32>
    cond {
      %4 = stablehlo.compare LT, %iter2, %in2, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %4 : tensor<i1>
    } do {
      %5 = stablehlo.constant dense<0x3FC00000> : tensor<f32>
      %6 = stablehlo.broadcast_in_dim %5, dims = [] : (tensor<f32>) -> tensor<3xf32>
      %7 = stablehlo.multiply %iter1, %6 : tensor<3xf32>
      %8 = stablehlo.constant dense<1> : tensor<i32>
      %9 = stablehlo.add %iter2, %8 : tensor<i32>
      stablehlo.return %7, %9 : tensor<3xf32>, tensor<i32>
    }
    %10 = stablehlo.constant dense<0> : tensor<i32>
    %11 = stablehlo.constant dense<0x00000000> : tensor<f32>
    %12 = stablehlo.broadcast_in_dim %11, dims = [] : (tensor<f32>) -> tensor<4xf32>
    %16:3 = stablehlo.while(%iter13 = %10, %iter14 = %3#0, %iter15 = %12) : tensor<i32>, tensor<3xf32>, tensor<4xf32>
    cond {
      %17 = stablehlo.constant dense<4> : tensor<i32>
      %18 = stablehlo.compare LT, %iter13, %17, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %18 : tensor<i1>
    } do {
      %19 = stablehlo.constant dense<0> : tensor<i32>
      %20 = stablehlo.dynamic_slice %in1, %iter13, %19, sizes = [1, 3] : (tensor<4x3xf32>, tensor<i32>, tensor<i32>) -> tensor<1x3xf32>
      %21 = stablehlo.reshape %20 : (tensor<1x3xf32>) -> tensor<3xf32>
      %22 = stablehlo.add %iter14, %21 : tensor<3xf32>
      %23 = stablehlo.tanh %22 : tensor<3xf32>
      %24 = stablehlo.constant dense<0xFF800000> : tensor<f32>
      %25 = stablehlo.reduce(%iter14 init: %24) applies stablehlo.maximum across dimensions = [0] : (tensor<3xf32>, tensor<f32>) -> tensor<f32>
      %26 = stablehlo.constant dense<1> : tensor<i32>
      %27 = stablehlo.add %iter13, %26 : tensor<i32>
      %28 = stablehlo.reshape %25 : (tensor<f32>) -> tensor<1xf32>
      %29 = stablehlo.constant dense<0> : tensor<i32>
      %30 = stablehlo.dynamic_update_slice %iter15, %28, %iter13 : (tensor<4xf32>, tensor<1xf32>, tensor<i32>) -> tensor<4xf32>
      stablehlo.return %27, %23, %30 : tensor<i32>, tensor<3xf32>, tensor<4xf32>
    }
    %31 = stablehlo.constant dense<0> : tensor<ui32>
    %32 = stablehlo.slice %in0 [0:1:1] : (tensor<3xf32>) -> tensor<1xf32>
    %33 = stablehlo.reshape %32 : (tensor<1xf32>) -> tensor<f32>
    %34 = stablehlo.bitcast_convert %33 : (tensor<f32>) -> tensor<ui32>
    %35 = stablehlo.xor %31, %34 : tensor<ui32>
    %36 = stablehlo.slice %in1 [0:1:1, 0:1:1] : (tensor<4x3xf32>) -> tensor<1x1xf32>
    %37 = stablehlo.reshape %36 : (tensor<1x1xf32>) -> tensor<f32>
    %38 = stablehlo.bitcast_convert %37 : (tensor<f32>) -> tensor<ui32>
    %39 = stablehlo.xor %35, %38 : tensor<ui32>
    %40 = stablehlo.convert %in2 : (tensor<i32>) -> tensor<ui32>
    %41 = stablehlo.xor %39, %40 : tensor<ui32>
    return %16#1, %16#2, %41 : tensor<3xf32>, tensor<4xf32>, tensor<ui32>
  }
}
