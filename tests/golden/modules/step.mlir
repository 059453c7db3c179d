module @lockstep {
  func.func public @main(%arg0: tensor<2x8xf32>, %arg1: tensor<8xi32>, %arg2: tensor<2x8xui32>) -> (tensor<2x8xf32>, tensor<8xf32>, tensor<8xi1>) {
    %202:4 = func.call @cluster_1(%arg0, %arg1, %arg2) {mhlo.frontend_attributes = {inlineable = "false", xla_cpu_small_call = "true"}} : (tensor<2x8xf32>, tensor<8xi32>, tensor<2x8xui32>) -> (tensor<8xi1>, tensor<2x8xf32>, tensor<8xf32>, tensor<ui32>)
    return %202#1, %202#2, %202#0 : tensor<2x8xf32>, tensor<8xf32>, tensor<8xi1>
  }
  func.func private @cluster_1(%in0: tensor<2x8xf32>, %in1: tensor<8xi32>, %in2: tensor<2x8xui32>) -> (tensor<8xi1>, tensor<2x8xf32>, tensor<8xf32>, tensor<ui32>) {
    %0 = stablehlo.constant dense<1> : tensor<i32>
    %1 = stablehlo.broadcast_in_dim %0, dims = [] : (tensor<i32>) -> tensor<8xi32>
    %2 = stablehlo.subtract %in1, %1 : tensor<8xi32>
    %3 = stablehlo.convert %2 : (tensor<8xi32>) -> tensor<8xf32>
    %4 = stablehlo.broadcast_in_dim %3, dims = [1] : (tensor<8xf32>) -> tensor<2x8xf32>
    %5 = stablehlo.constant dense<0x3DCCCCCD> : tensor<f32>
    %6 = stablehlo.broadcast_in_dim %5, dims = [] : (tensor<f32>) -> tensor<2xf32>
    %7 = stablehlo.broadcast_in_dim %6, dims = [0] : (tensor<2xf32>) -> tensor<2x8xf32>
    %8 = stablehlo.multiply %4, %7 : tensor<2x8xf32>
    %9 = stablehlo.add %in0, %8 : tensor<2x8xf32>
    %10 = stablehlo.abs %9 : tensor<2x8xf32>
    %11 = stablehlo.constant dense<0x3F800000> : tensor<f32>
    %12 = stablehlo.broadcast_in_dim %11, dims = [] : (tensor<f32>) -> tensor<2xf32>
    %13 = stablehlo.broadcast_in_dim %12, dims = [0] : (tensor<2xf32>) -> tensor<2x8xf32>
    %14 = stablehlo.compare GT, %10, %13, FLOAT : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xi1>
    %15 = stablehlo.constant dense<false> : tensor<i1>
    %16 = stablehlo.reduce(%14 init: %15) applies stablehlo.or across dimensions = [0] : (tensor<2x8xi1>, tensor<i1>) -> tensor<8xi1>
    %19:2 = stablehlo.while(%iter17 = %16, %iter18 = %9) : tensor<8xi1>, tensor<2x8xf32>
    cond {
      %20 = stablehlo.constant dense<false> : tensor<i1>
      %21 = stablehlo.reduce(%iter17 init: %20) applies stablehlo.or across dimensions = [0] : (tensor<8xi1>, tensor<i1>) -> tensor<i1>
      stablehlo.return %21 : tensor<i1>
    } do {
      %22 = stablehlo.constant dense<false> : tensor<i1>
      %23 = stablehlo.pad %iter17, %22, low = [0], high = [56], interior = [0] : (tensor<8xi1>, tensor<i1>) -> tensor<64xi1>
      %24 = stablehlo.reshape %23 : (tensor<64xi1>) -> tensor<1x64xi1>
      %25 = stablehlo.convert %24 : (tensor<1x64xi1>) -> tensor<1x64xui64>
      %26 = stablehlo.iota dim = 1 : tensor<1x64xui64>
      %27 = stablehlo.shift_left %25, %26 : tensor<1x64xui64>
      %28 = stablehlo.constant dense<0> : tensor<ui64>
      %29 = stablehlo.reduce(%27 init: %28) applies stablehlo.add across dimensions = [1] : (tensor<1x64xui64>, tensor<ui64>) -> tensor<1xui64>
      %30 = stablehlo.constant dense<2> : tensor<ui64>
      %31 = stablehlo.broadcast_in_dim %30, dims = [] : (tensor<ui64>) -> tensor<1x64xui64>
      %32 = stablehlo.constant dense<1> : tensor<ui64>
      %33 = stablehlo.broadcast_in_dim %32, dims = [] : (tensor<ui64>) -> tensor<1x64xui64>
      %34 = stablehlo.shift_left %31, %26 : tensor<1x64xui64>
      %35 = stablehlo.subtract %34, %33 : tensor<1x64xui64>
      %36 = stablehlo.broadcast_in_dim %29, dims = [0] : (tensor<1xui64>) -> tensor<1x64xui64>
      %37 = stablehlo.and %36, %35 : tensor<1x64xui64>
      %38 = stablehlo.popcnt %37 : tensor<1x64xui64>
      %39 = stablehlo.convert %38 : (tensor<1x64xui64>) -> tensor<1x64xi32>
      %40 = stablehlo.iota dim = 0 : tensor<1x1xi32>
      %41 = stablehlo.iota dim = 1 : tensor<1x1xi32>
      %42 = stablehlo.compare LT, %41, %40, SIGNED : (tensor<1x1xi32>, tensor<1x1xi32>) -> tensor<1x1xi1>
      %43 = stablehlo.popcnt %29 : tensor<1xui64>
      %44 = stablehlo.convert %43 : (tensor<1xui64>) -> tensor<1xi32>
      %45 = stablehlo.broadcast_in_dim %44, dims = [1] : (tensor<1xi32>) -> tensor<1x1xi32>
      %46 = stablehlo.constant dense<0> : tensor<i32>
      %47 = stablehlo.broadcast_in_dim %46, dims = [] : (tensor<i32>) -> tensor<1x1xi32>
      %48 = stablehlo.select %42, %45, %47 : tensor<1x1xi1>, tensor<1x1xi32>
      %49 = stablehlo.constant dense<0> : tensor<i32>
      %50 = stablehlo.reduce(%48 init: %49) applies stablehlo.add across dimensions = [1] : (tensor<1x1xi32>, tensor<i32>) -> tensor<1xi32>
      %51 = stablehlo.broadcast_in_dim %50, dims = [0] : (tensor<1xi32>) -> tensor<1x64xi32>
      %52 = stablehlo.add %51, %39 : tensor<1x64xi32>
      %53 = stablehlo.reshape %52 : (tensor<1x64xi32>) -> tensor<64xi32>
      %54 = stablehlo.slice %53 [0:8:1] : (tensor<64xi32>) -> tensor<8xi32>
      %55 = stablehlo.iota dim = 0 : tensor<1xi32>
      %56 = stablehlo.constant dense<0> : tensor<i32>
      %57 = stablehlo.broadcast_in_dim %56, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %58 = stablehlo.constant dense<7> : tensor<i32>
      %59 = stablehlo.broadcast_in_dim %58, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %60 = stablehlo.add %57, %59 : tensor<1xi32>
      %61 = "stablehlo.gather"(%54, %60) <{dimension_numbers = #stablehlo.gather<offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, indices_are_sorted = false, slice_sizes = array<i64: 1>}> : (tensor<8xi32>, tensor<1xi32>) -> tensor<1xi32>
      %62 = stablehlo.compare LE, %61, %55, SIGNED : (tensor<1xi32>, tensor<1xi32>) -> tensor<1xi1>
      %63 = stablehlo.constant dense<8> : tensor<i32>
      %64 = stablehlo.broadcast_in_dim %63, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %65 = stablehlo.add %57, %64 : tensor<1xi32>
      %66 = stablehlo.select %62, %65, %57 : tensor<1xi1>, tensor<1xi32>
      %67 = stablehlo.constant dense<3> : tensor<i32>
      %68 = stablehlo.broadcast_in_dim %67, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %69 = stablehlo.add %66, %68 : tensor<1xi32>
      %70 = "stablehlo.gather"(%54, %69) <{dimension_numbers = #stablehlo.gather<offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, indices_are_sorted = false, slice_sizes = array<i64: 1>}> : (tensor<8xi32>, tensor<1xi32>) -> tensor<1xi32>
      %71 = stablehlo.compare LE, %70, %55, SIGNED : (tensor<1xi32>, tensor<1xi32>) -> tensor<1xi1>
      %72 = stablehlo.constant dense<4> : tensor<i32>
      %73 = stablehlo.broadcast_in_dim %72, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %74 = stablehlo.add %66, %73 : tensor<1xi32>
      %75 = stablehlo.select %71, %74, %66 : tensor<1xi1>, tensor<1xi32>
      %76 = stablehlo.constant dense<1> : tensor<i32>
      %77 = stablehlo.broadcast_in_dim %76, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %78 = stablehlo.add %75, %77 : tensor<1xi32>
      %79 = "stablehlo.gather"(%54, %78) <{dimension_numbers = #stablehlo.gather<offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, indices_are_sorted = false, slice_sizes = array<i64: 1>}> : (tensor<8xi32>, tensor<1xi32>) -> tensor<1xi32>
      %80 = stablehlo.compare LE, %79, %55, SIGNED : (tensor<1xi32>, tensor<1xi32>) -> tensor<1xi1>
      %81 = stablehlo.constant dense<2> : tensor<i32>
      %82 = stablehlo.broadcast_in_dim %81, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %83 = stablehlo.add %75, %82 : tensor<1xi32>
      %84 = stablehlo.select %80, %83, %75 : tensor<1xi1>, tensor<1xi32>
      %85 = stablehlo.constant dense<0> : tensor<i32>
      %86 = stablehlo.broadcast_in_dim %85, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %87 = stablehlo.add %84, %86 : tensor<1xi32>
      %88 = "stablehlo.gather"(%54, %87) <{dimension_numbers = #stablehlo.gather<offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, indices_are_sorted = false, slice_sizes = array<i64: 1>}> : (tensor<8xi32>, tensor<1xi32>) -> tensor<1xi32>
      %89 = stablehlo.compare LE, %88, %55, SIGNED : (tensor<1xi32>, tensor<1xi32>) -> tensor<1xi1>
      %90 = stablehlo.constant dense<1> : tensor<i32>
      %91 = stablehlo.broadcast_in_dim %90, dims = [] : (tensor<i32>) -> tensor<1xi32>
      %92 = stablehlo.add %84, %91 : tensor<1xi32>
      %93 = stablehlo.select %89, %92, %84 : tensor<1xi1>, tensor<1xi32>
      %94 = stablehlo.reshape %in2 : (tensor<2x8xui32>) -> tensor<16xui32>
      %95 = stablehlo.iota dim = 0 : tensor<2x1xi32>
      %96 = stablehlo.constant dense<8> : tensor<i32>
      %97 = stablehlo.broadcast_in_dim %96, dims = [] : (tensor<i32>) -> tensor<2x1xi32>
      %98 = stablehlo.multiply %95, %97 : tensor<2x1xi32>
      %99 = stablehlo.broadcast_in_dim %93, dims = [1] : (tensor<1xi32>) -> tensor<2x1xi32>
      %100 = stablehlo.constant dense<7> : tensor<i32>
      %101 = stablehlo.broadcast_in_dim %100, dims = [] : (tensor<i32>) -> tensor<2x1xi32>
      %102 = stablehlo.constant dense<0> : tensor<i32>
      %103 = stablehlo.broadcast_in_dim %102, dims = [] : (tensor<i32>) -> tensor<2x1xi32>
      %104 = stablehlo.minimum %99, %101 : tensor<2x1xi32>
      %105 = stablehlo.maximum %104, %103 : tensor<2x1xi32>
      %106 = stablehlo.add %98, %105 : tensor<2x1xi32>
      %107 = "stablehlo.gather"(%94, %106) <{dimension_numbers = #stablehlo.gather<offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 2>, indices_are_sorted = false, slice_sizes = array<i64: 1>}> : (tensor<16xui32>, tensor<2x1xi32>) -> tensor<2x1xui32>
      %108 = stablehlo.reshape %iter18 : (tensor<2x8xf32>) -> tensor<16xf32>
      %109 = stablehlo.iota dim = 0 : tensor<2x1xi32>
      %110 = stablehlo.constant dense<8> : tensor<i32>
      %111 = stablehlo.broadcast_in_dim %110, dims = [] : (tensor<i32>) -> tensor<2x1xi32>
      %112 = stablehlo.multiply %109, %111 : tensor<2x1xi32>
      %113 = stablehlo.broadcast_in_dim %93, dims = [1] : (tensor<1xi32>) -> tensor<2x1xi32>
      %114 = stablehlo.constant dense<7> : tensor<i32>
      %115 = stablehlo.broadcast_in_dim %114, dims = [] : (tensor<i32>) -> tensor<2x1xi32>
      %116 = stablehlo.constant dense<0> : tensor<i32>
      %117 = stablehlo.broadcast_in_dim %116, dims = [] : (tensor<i32>) -> tensor<2x1xi32>
      %118 = stablehlo.minimum %113, %115 : tensor<2x1xi32>
      %119 = stablehlo.maximum %118, %117 : tensor<2x1xi32>
      %120 = stablehlo.add %112, %119 : tensor<2x1xi32>
      %121 = "stablehlo.gather"(%108, %120) <{dimension_numbers = #stablehlo.gather<offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 2>, indices_are_sorted = false, slice_sizes = array<i64: 1>}> : (tensor<16xf32>, tensor<2x1xi32>) -> tensor<2x1xf32>
      %122 = stablehlo.constant dense<0x3F000000> : tensor<f32>
      %123 = stablehlo.broadcast_in_dim %122, dims = [] : (tensor<f32>) -> tensor<2xf32>
      %124 = stablehlo.broadcast_in_dim %123, dims = [0] : (tensor<2xf32>) -> tensor<2x1xf32>
      %125 = stablehlo.multiply %121, %124 : tensor<2x1xf32>
      %126 = stablehlo.iota dim = 0 : tensor<2xui32>
      %127 = stablehlo.constant dense<0> : tensor<ui32>
      %128 = stablehlo.broadcast_in_dim %127, dims = [] : (tensor<ui32>) -> tensor<2xui32>
      %129 = stablehlo.slice %107 [0:1:1, 0:1:1] : (tensor<2x1xui32>) -> tensor<1x1xui32>
      %130 = stablehlo.reshape %129 : (tensor<1x1xui32>) -> tensor<1xui32>
      %131 = stablehlo.broadcast_in_dim %130, dims = [1] : (tensor<1xui32>) -> tensor<2x1xui32>
      %132 = stablehlo.slice %107 [1:2:1, 0:1:1] : (tensor<2x1xui32>) -> tensor<1x1xui32>
      %133 = stablehlo.reshape %132 : (tensor<1x1xui32>) -> tensor<1xui32>
      %134 = stablehlo.broadcast_in_dim %133, dims = [1] : (tensor<1xui32>) -> tensor<2x1xui32>
      %135 = stablehlo.broadcast_in_dim %128, dims = [0] : (tensor<2xui32>) -> tensor<2x1xui32>
      %136 = stablehlo.broadcast_in_dim %126, dims = [0] : (tensor<2xui32>) -> tensor<2x1xui32>
      %137:2 = func.call @threefry2x32_2_1(%131, %134, %135, %136) : (tensor<2x1xui32>, tensor<2x1xui32>, tensor<2x1xui32>, tensor<2x1xui32>) -> (tensor<2x1xui32>, tensor<2x1xui32>)
      %138 = stablehlo.xor %137#0, %137#1 : tensor<2x1xui32>
      %139 = stablehlo.constant dense<9> : tensor<ui32>
      %140 = stablehlo.broadcast_in_dim %139, dims = [] : (tensor<ui32>) -> tensor<2xui32>
      %141 = stablehlo.broadcast_in_dim %140, dims = [0] : (tensor<2xui32>) -> tensor<2x1xui32>
      %142 = stablehlo.shift_right_logical %138, %141 : tensor<2x1xui32>
      %143 = stablehlo.constant dense<1065353216> : tensor<ui32>
      %144 = stablehlo.broadcast_in_dim %143, dims = [] : (tensor<ui32>) -> tensor<2xui32>
      %145 = stablehlo.broadcast_in_dim %144, dims = [0] : (tensor<2xui32>) -> tensor<2x1xui32>
      %146 = stablehlo.or %142, %145 : tensor<2x1xui32>
      %147 = stablehlo.bitcast_convert %146 : (tensor<2x1xui32>) -> tensor<2x1xf32>
      %148 = stablehlo.constant dense<0x3F800000> : tensor<f32>
      %149 = stablehlo.broadcast_in_dim %148, dims = [] : (tensor<f32>) -> tensor<2xf32>
      %150 = stablehlo.broadcast_in_dim %149, dims = [0] : (tensor<2xf32>) -> tensor<2x1xf32>
      %151 = stablehlo.subtract %147, %150 : tensor<2x1xf32>
      %152 = stablehlo.constant dense<0x3DCCCCCD> : tensor<f32>
      %153 = stablehlo.broadcast_in_dim %152, dims = [] : (tensor<f32>) -> tensor<2xf32>
      %154 = stablehlo.broadcast_in_dim %153, dims = [0] : (tensor<2xf32>) -> tensor<2x1xf32>
      %155 = stablehlo.multiply %151, %154 : tensor<2x1xf32>
      %156 = stablehlo.constant dense<0x00000000> : tensor<f32>
      %157 = stablehlo.broadcast_in_dim %156, dims = [] : (tensor<f32>) -> tensor<2xf32>
      %158 = stablehlo.broadcast_in_dim %157, dims = [0] : (tensor<2xf32>) -> tensor<2x1xf32>
      %159 = stablehlo.add %155, %158 : tensor<2x1xf32>
      %160 = stablehlo.add %125, %159 : tensor<2x1xf32>
      %161 = stablehlo.constant dense<1> : tensor<i32>
      %162 = stablehlo.broadcast_in_dim %161, dims = [] : (tensor<i32>) -> tensor<8xi32>
      %163 = stablehlo.subtract %54, %162 : tensor<8xi32>
      %164 = stablehlo.constant dense<1> : tensor<i32>
      %165 = stablehlo.broadcast_in_dim %164, dims = [] : (tensor<i32>) -> tensor<8xi32>
      %166 = stablehlo.compare LT, %163, %165, SIGNED : (tensor<8xi32>, tensor<8xi32>) -> tensor<8xi1>
      %167 = stablehlo.and %166, %iter17 : tensor<8xi1>
      %168 = stablehlo.not %167 : tensor<8xi1>
      %169 = stablehlo.and %iter17, %168 : tensor<8xi1>
      %170 = stablehlo.reshape %160 : (tensor<2x1xf32>) -> tensor<2xf32>
      %171 = stablehlo.iota dim = 0 : tensor<2x8xi32>
      %172 = stablehlo.constant dense<1> : tensor<i32>
      %173 = stablehlo.broadcast_in_dim %172, dims = [] : (tensor<i32>) -> tensor<2x8xi32>
      %174 = stablehlo.multiply %171, %173 : tensor<2x8xi32>
      %175 = stablehlo.broadcast_in_dim %163, dims = [1] : (tensor<8xi32>) -> tensor<2x8xi32>
      %176 = stablehlo.constant dense<0> : tensor<i32>
      %177 = stablehlo.broadcast_in_dim %176, dims = [] : (tensor<i32>) -> tensor<2x8xi32>
      %178 = stablehlo.constant dense<0> : tensor<i32>
      %179 = stablehlo.broadcast_in_dim %178, dims = [] : (tensor<i32>) -> tensor<2x8xi32>
      %180 = stablehlo.minimum %175, %177 : tensor<2x8xi32>
      %181 = stablehlo.maximum %180, %179 : tensor<2x8xi32>
      %182 = stablehlo.add %174, %181 : tensor<2x8xi32>
      %183 = "stablehlo.gather"(%170, %182) <{dimension_numbers = #stablehlo.gather<offset_dims = [], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 2>, indices_are_sorted = false, slice_sizes = array<i64: 1>}> : (tensor<2xf32>, tensor<2x8xi32>) -> tensor<2x8xf32>
      %184 = stablehlo.broadcast_in_dim %167, dims = [1] : (tensor<8xi1>) -> tensor<2x8xi1>
      %185 = stablehlo.select %184, %183, %iter18 : tensor<2x8xi1>, tensor<2x8xf32>
      stablehlo.return %169, %185 : tensor<8xi1>, tensor<2x8xf32>
    }
    %186 = stablehlo.broadcast_in_dim %16, dims = [1] : (tensor<8xi1>) -> tensor<2x8xi1>
    %187 = stablehlo.select %186, %19#1, %9 : tensor<2x8xi1>, tensor<2x8xf32>
    %188 = stablehlo.constant dense<0x00000000> : tensor<f32>
    %189 = stablehlo.reduce(%19#1 init: %188) applies stablehlo.add across dimensions = [0] : (tensor<2x8xf32>, tensor<f32>) -> tensor<8xf32>
    %190 = stablehlo.constant dense<0> : tensor<ui32>
    %191 = stablehlo.slice %in0 [0:1:1, 0:1:1] : (tensor<2x8xf32>) -> tensor<1x1xf32>
    %192 = stablehlo.reshape %191 : (tensor<1x1xf32>) -> tensor<f32>
    %193 = stablehlo.bitcast_convert %192 : (tensor<f32>) -> tensor<ui32>
    %194 = stablehlo.xor %190, %193 : tensor<ui32>
    %195 = stablehlo.slice %in1 [0:1:1] : (tensor<8xi32>) -> tensor<1xi32>
    %196 = stablehlo.reshape %195 : (tensor<1xi32>) -> tensor<i32>
    %197 = stablehlo.convert %196 : (tensor<i32>) -> tensor<ui32>
    %198 = stablehlo.xor %194, %197 : tensor<ui32>
    %199 = stablehlo.slice %in2 [0:1:1, 0:1:1] : (tensor<2x8xui32>) -> tensor<1x1xui32>
    %200 = stablehlo.reshape %199 : (tensor<1x1xui32>) -> tensor<ui32>
    %201 = stablehlo.xor %198, %200 : tensor<ui32>
    return %16, %187, %189, %201 : tensor<8xi1>, tensor<2x8xf32>, tensor<8xf32>, tensor<ui32>
  }
  func.func private @threefry2x32_2_1(%k0: tensor<2x1xui32>, %k1: tensor<2x1xui32>, %x0: tensor<2x1xui32>, %x1: tensor<2x1xui32>) -> (tensor<2x1xui32>, tensor<2x1xui32>) {
    %0 = stablehlo.constant dense<466688986> : tensor<2x1xui32>
    %1 = stablehlo.xor %k0, %k1 : tensor<2x1xui32>
    %2 = stablehlo.xor %1, %0 : tensor<2x1xui32>
    %3 = stablehlo.add %x0, %k0 : tensor<2x1xui32>
    %4 = stablehlo.add %x1, %k1 : tensor<2x1xui32>
    %5 = stablehlo.add %3, %4 : tensor<2x1xui32>
    %6 = stablehlo.constant dense<13> : tensor<2x1xui32>
    %7 = stablehlo.shift_left %4, %6 : tensor<2x1xui32>
    %8 = stablehlo.constant dense<19> : tensor<2x1xui32>
    %9 = stablehlo.shift_right_logical %4, %8 : tensor<2x1xui32>
    %10 = stablehlo.or %7, %9 : tensor<2x1xui32>
    %11 = stablehlo.xor %5, %10 : tensor<2x1xui32>
    %12 = stablehlo.add %5, %11 : tensor<2x1xui32>
    %13 = stablehlo.constant dense<15> : tensor<2x1xui32>
    %14 = stablehlo.shift_left %11, %13 : tensor<2x1xui32>
    %15 = stablehlo.constant dense<17> : tensor<2x1xui32>
    %16 = stablehlo.shift_right_logical %11, %15 : tensor<2x1xui32>
    %17 = stablehlo.or %14, %16 : tensor<2x1xui32>
    %18 = stablehlo.xor %12, %17 : tensor<2x1xui32>
    %19 = stablehlo.add %12, %18 : tensor<2x1xui32>
    %20 = stablehlo.constant dense<26> : tensor<2x1xui32>
    %21 = stablehlo.shift_left %18, %20 : tensor<2x1xui32>
    %22 = stablehlo.constant dense<6> : tensor<2x1xui32>
    %23 = stablehlo.shift_right_logical %18, %22 : tensor<2x1xui32>
    %24 = stablehlo.or %21, %23 : tensor<2x1xui32>
    %25 = stablehlo.xor %19, %24 : tensor<2x1xui32>
    %26 = stablehlo.add %19, %25 : tensor<2x1xui32>
    %27 = stablehlo.constant dense<6> : tensor<2x1xui32>
    %28 = stablehlo.shift_left %25, %27 : tensor<2x1xui32>
    %29 = stablehlo.constant dense<26> : tensor<2x1xui32>
    %30 = stablehlo.shift_right_logical %25, %29 : tensor<2x1xui32>
    %31 = stablehlo.or %28, %30 : tensor<2x1xui32>
    %32 = stablehlo.xor %26, %31 : tensor<2x1xui32>
    %33 = stablehlo.add %26, %k1 : tensor<2x1xui32>
    %34 = stablehlo.add %32, %2 : tensor<2x1xui32>
    %35 = stablehlo.constant dense<1> : tensor<2x1xui32>
    %36 = stablehlo.add %34, %35 : tensor<2x1xui32>
    %37 = stablehlo.add %33, %36 : tensor<2x1xui32>
    %38 = stablehlo.constant dense<17> : tensor<2x1xui32>
    %39 = stablehlo.shift_left %36, %38 : tensor<2x1xui32>
    %40 = stablehlo.constant dense<15> : tensor<2x1xui32>
    %41 = stablehlo.shift_right_logical %36, %40 : tensor<2x1xui32>
    %42 = stablehlo.or %39, %41 : tensor<2x1xui32>
    %43 = stablehlo.xor %37, %42 : tensor<2x1xui32>
    %44 = stablehlo.add %37, %43 : tensor<2x1xui32>
    %45 = stablehlo.constant dense<29> : tensor<2x1xui32>
    %46 = stablehlo.shift_left %43, %45 : tensor<2x1xui32>
    %47 = stablehlo.constant dense<3> : tensor<2x1xui32>
    %48 = stablehlo.shift_right_logical %43, %47 : tensor<2x1xui32>
    %49 = stablehlo.or %46, %48 : tensor<2x1xui32>
    %50 = stablehlo.xor %44, %49 : tensor<2x1xui32>
    %51 = stablehlo.add %44, %50 : tensor<2x1xui32>
    %52 = stablehlo.constant dense<16> : tensor<2x1xui32>
    %53 = stablehlo.shift_left %50, %52 : tensor<2x1xui32>
    %54 = stablehlo.constant dense<16> : tensor<2x1xui32>
    %55 = stablehlo.shift_right_logical %50, %54 : tensor<2x1xui32>
    %56 = stablehlo.or %53, %55 : tensor<2x1xui32>
    %57 = stablehlo.xor %51, %56 : tensor<2x1xui32>
    %58 = stablehlo.add %51, %57 : tensor<2x1xui32>
    %59 = stablehlo.constant dense<24> : tensor<2x1xui32>
    %60 = stablehlo.shift_left %57, %59 : tensor<2x1xui32>
    %61 = stablehlo.constant dense<8> : tensor<2x1xui32>
    %62 = stablehlo.shift_right_logical %57, %61 : tensor<2x1xui32>
    %63 = stablehlo.or %60, %62 : tensor<2x1xui32>
    %64 = stablehlo.xor %58, %63 : tensor<2x1xui32>
    %65 = stablehlo.add %58, %2 : tensor<2x1xui32>
    %66 = stablehlo.add %64, %k0 : tensor<2x1xui32>
    %67 = stablehlo.constant dense<2> : tensor<2x1xui32>
    %68 = stablehlo.add %66, %67 : tensor<2x1xui32>
    %69 = stablehlo.add %65, %68 : tensor<2x1xui32>
    %70 = stablehlo.constant dense<13> : tensor<2x1xui32>
    %71 = stablehlo.shift_left %68, %70 : tensor<2x1xui32>
    %72 = stablehlo.constant dense<19> : tensor<2x1xui32>
    %73 = stablehlo.shift_right_logical %68, %72 : tensor<2x1xui32>
    %74 = stablehlo.or %71, %73 : tensor<2x1xui32>
    %75 = stablehlo.xor %69, %74 : tensor<2x1xui32>
    %76 = stablehlo.add %69, %75 : tensor<2x1xui32>
    %77 = stablehlo.constant dense<15> : tensor<2x1xui32>
    %78 = stablehlo.shift_left %75, %77 : tensor<2x1xui32>
    %79 = stablehlo.constant dense<17> : tensor<2x1xui32>
    %80 = stablehlo.shift_right_logical %75, %79 : tensor<2x1xui32>
    %81 = stablehlo.or %78, %80 : tensor<2x1xui32>
    %82 = stablehlo.xor %76, %81 : tensor<2x1xui32>
    %83 = stablehlo.add %76, %82 : tensor<2x1xui32>
    %84 = stablehlo.constant dense<26> : tensor<2x1xui32>
    %85 = stablehlo.shift_left %82, %84 : tensor<2x1xui32>
    %86 = stablehlo.constant dense<6> : tensor<2x1xui32>
    %87 = stablehlo.shift_right_logical %82, %86 : tensor<2x1xui32>
    %88 = stablehlo.or %85, %87 : tensor<2x1xui32>
    %89 = stablehlo.xor %83, %88 : tensor<2x1xui32>
    %90 = stablehlo.add %83, %89 : tensor<2x1xui32>
    %91 = stablehlo.constant dense<6> : tensor<2x1xui32>
    %92 = stablehlo.shift_left %89, %91 : tensor<2x1xui32>
    %93 = stablehlo.constant dense<26> : tensor<2x1xui32>
    %94 = stablehlo.shift_right_logical %89, %93 : tensor<2x1xui32>
    %95 = stablehlo.or %92, %94 : tensor<2x1xui32>
    %96 = stablehlo.xor %90, %95 : tensor<2x1xui32>
    %97 = stablehlo.add %90, %k0 : tensor<2x1xui32>
    %98 = stablehlo.add %96, %k1 : tensor<2x1xui32>
    %99 = stablehlo.constant dense<3> : tensor<2x1xui32>
    %100 = stablehlo.add %98, %99 : tensor<2x1xui32>
    %101 = stablehlo.add %97, %100 : tensor<2x1xui32>
    %102 = stablehlo.constant dense<17> : tensor<2x1xui32>
    %103 = stablehlo.shift_left %100, %102 : tensor<2x1xui32>
    %104 = stablehlo.constant dense<15> : tensor<2x1xui32>
    %105 = stablehlo.shift_right_logical %100, %104 : tensor<2x1xui32>
    %106 = stablehlo.or %103, %105 : tensor<2x1xui32>
    %107 = stablehlo.xor %101, %106 : tensor<2x1xui32>
    %108 = stablehlo.add %101, %107 : tensor<2x1xui32>
    %109 = stablehlo.constant dense<29> : tensor<2x1xui32>
    %110 = stablehlo.shift_left %107, %109 : tensor<2x1xui32>
    %111 = stablehlo.constant dense<3> : tensor<2x1xui32>
    %112 = stablehlo.shift_right_logical %107, %111 : tensor<2x1xui32>
    %113 = stablehlo.or %110, %112 : tensor<2x1xui32>
    %114 = stablehlo.xor %108, %113 : tensor<2x1xui32>
    %115 = stablehlo.add %108, %114 : tensor<2x1xui32>
    %116 = stablehlo.constant dense<16> : tensor<2x1xui32>
    %117 = stablehlo.shift_left %114, %116 : tensor<2x1xui32>
    %118 = stablehlo.constant dense<16> : tensor<2x1xui32>
    %119 = stablehlo.shift_right_logical %114, %118 : tensor<2x1xui32>
    %120 = stablehlo.or %117, %119 : tensor<2x1xui32>
    %121 = stablehlo.xor %115, %120 : tensor<2x1xui32>
    %122 = stablehlo.add %115, %121 : tensor<2x1xui32>
    %123 = stablehlo.constant dense<24> : tensor<2x1xui32>
    %124 = stablehlo.shift_left %121, %123 : tensor<2x1xui32>
    %125 = stablehlo.constant dense<8> : tensor<2x1xui32>
    %126 = stablehlo.shift_right_logical %121, %125 : tensor<2x1xui32>
    %127 = stablehlo.or %124, %126 : tensor<2x1xui32>
    %128 = stablehlo.xor %122, %127 : tensor<2x1xui32>
    %129 = stablehlo.add %122, %k1 : tensor<2x1xui32>
    %130 = stablehlo.add %128, %2 : tensor<2x1xui32>
    %131 = stablehlo.constant dense<4> : tensor<2x1xui32>
    %132 = stablehlo.add %130, %131 : tensor<2x1xui32>
    %133 = stablehlo.add %129, %132 : tensor<2x1xui32>
    %134 = stablehlo.constant dense<13> : tensor<2x1xui32>
    %135 = stablehlo.shift_left %132, %134 : tensor<2x1xui32>
    %136 = stablehlo.constant dense<19> : tensor<2x1xui32>
    %137 = stablehlo.shift_right_logical %132, %136 : tensor<2x1xui32>
    %138 = stablehlo.or %135, %137 : tensor<2x1xui32>
    %139 = stablehlo.xor %133, %138 : tensor<2x1xui32>
    %140 = stablehlo.add %133, %139 : tensor<2x1xui32>
    %141 = stablehlo.constant dense<15> : tensor<2x1xui32>
    %142 = stablehlo.shift_left %139, %141 : tensor<2x1xui32>
    %143 = stablehlo.constant dense<17> : tensor<2x1xui32>
    %144 = stablehlo.shift_right_logical %139, %143 : tensor<2x1xui32>
    %145 = stablehlo.or %142, %144 : tensor<2x1xui32>
    %146 = stablehlo.xor %140, %145 : tensor<2x1xui32>
    %147 = stablehlo.add %140, %146 : tensor<2x1xui32>
    %148 = stablehlo.constant dense<26> : tensor<2x1xui32>
    %149 = stablehlo.shift_left %146, %148 : tensor<2x1xui32>
    %150 = stablehlo.constant dense<6> : tensor<2x1xui32>
    %151 = stablehlo.shift_right_logical %146, %150 : tensor<2x1xui32>
    %152 = stablehlo.or %149, %151 : tensor<2x1xui32>
    %153 = stablehlo.xor %147, %152 : tensor<2x1xui32>
    %154 = stablehlo.add %147, %153 : tensor<2x1xui32>
    %155 = stablehlo.constant dense<6> : tensor<2x1xui32>
    %156 = stablehlo.shift_left %153, %155 : tensor<2x1xui32>
    %157 = stablehlo.constant dense<26> : tensor<2x1xui32>
    %158 = stablehlo.shift_right_logical %153, %157 : tensor<2x1xui32>
    %159 = stablehlo.or %156, %158 : tensor<2x1xui32>
    %160 = stablehlo.xor %154, %159 : tensor<2x1xui32>
    %161 = stablehlo.add %154, %2 : tensor<2x1xui32>
    %162 = stablehlo.add %160, %k0 : tensor<2x1xui32>
    %163 = stablehlo.constant dense<5> : tensor<2x1xui32>
    %164 = stablehlo.add %162, %163 : tensor<2x1xui32>
    return %161, %164 : tensor<2x1xui32>, tensor<2x1xui32>
  }
}
